"""The bill of materials names everything that the sources include or link, and brings its licences.

usage: sbom_test.py PREFIX

PREFIX is a folder that `cmake --install` filled, on Debian.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-B", str(ROOT / "tools" / "sbom.py")]
PREFIX = ""
SYSTEM = re.compile(r"glibc|linux|gcc-\d+")


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def source_of(package):
    return output("dpkg-query", "--show", "--showformat=${source:Package}\n", package).split("\n", 1)[0]


def included_sources():
    """The source packages of the headers that are included in angle brackets and lie in /usr/include."""
    names = set()
    for folder in ("sdk", "framework", "plugins"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".h", ".cpp"):
                names |= set(re.findall(r"^#include <([^>]+)>", file.read_text(encoding="utf-8"), re.MULTILINE))
    roots = [Path("/usr/include"), *Path("/usr/include").glob("*-linux-gnu")]
    paths = [str(root / name) for name in names for root in roots if (root / name).is_file()]
    owners = {line.split(":", 1)[0] for line in output("dpkg-query", "--search", *paths).splitlines()}
    return {source_of(owner) for owner in owners if not SYSTEM.fullmatch(source_of(owner))}


class BillOfMaterials(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bill = json.loads(output(*PROGRAM, PREFIX))
        cls.packages = {package["name"]: package for package in cls.bill["packages"]}
        cls.debian = {name for name, package in cls.packages.items()
                      if "pkg:deb/" in json.dumps(package.get("externalRefs", []))}

    def test_every_library_that_the_sources_include_is_named(self):
        included = included_sources()
        self.assertGreater(len(included), 8)
        self.assertEqual(included - {source_of(name) for name in self.debian}, set())

    def test_what_is_compiled_in_is_contained_and_what_is_linked_is_a_dependency(self):
        names = {package["SPDXID"]: name for name, package in self.packages.items()}
        kinds = {names[relation["relatedSpdxElement"]]: relation["relationshipType"]
                 for relation in self.bill["relationships"]}
        self.assertEqual(kinds.keys(), self.packages.keys())
        self.assertEqual(kinds["casdm"], "DESCRIBES")
        self.assertEqual({kinds["nlohmann-json3-dev"], kinds["libarchive-dev"], kinds["emoji32.zip"]}, {"CONTAINS"})
        self.assertEqual({kinds["torch"], kinds["libc6"]}, {"DEPENDS_ON"})

    def test_all_have_a_version_and_a_licence(self):
        for name, package in self.packages.items():
            self.assertTrue(package["versionInfo"] and package["licenseDeclared"], name)

    def test_the_licences_of_all_but_the_systems_own_are_copied(self):
        with tempfile.TemporaryDirectory() as folder:
            output(*PROGRAM, "--licences", folder, PREFIX)
            copied = {file.name for file in Path(folder).iterdir() if file.stat().st_size > 500}
        named = {source_of(name) for name in self.debian}
        self.assertEqual(copied, {name for name in named if name != "zlib" and not SYSTEM.fullmatch(name)})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    PREFIX = sys.argv.pop()
    unittest.main()

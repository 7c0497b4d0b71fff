"""Bill of materials of an installed casdm, as SPDX 2.3 JSON: sbom.py PREFIX > casdm.spdx.json

PREFIX is a folder that `cmake --install` filled. What is listed is read from the files: the libraries that programs and
plugins are linked to, and the Debian packages that these come from; LibTorch; data that carry a licence of their own.
The time is SOURCE_DATE_EPOCH, if that is set.
"""

import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Of the Debian packages, by the beginnings of their names: what their copyright files say, in the words of SPDX.
LICENCES = {
    "libarchive": "BSD-2-Clause",
    "libboost": "BSL-1.0",
    "libc6": "LGPL-2.1-or-later",
    "libgcc": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libjpeg": "IJG AND BSD-3-Clause AND Zlib",
    "liblmdb": "OLDAP-2.8",
    "libpng": "libpng-2.0",
    "libssl": "Apache-2.0",
    "libstdc++": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libtomlplusplus": "MIT",
    "libwebp": "BSD-3-Clause",
    "libzip": "BSD-3-Clause",
    "zlib1g": "Zlib",
}


def output_of(*command, **environment):
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environment}).stdout


def version():
    return re.search(r"project\(casdm VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def libraries_of(prefix, torch):
    """The libraries that the files below `prefix` are linked to, by name; those of the prefix itself left out."""
    found = {}
    places = f"{prefix}/lib:{torch}/lib"  # plugins find these where the program has loaded them
    for path in sorted(prefix.rglob("*")):
        if path.is_symlink() or not path.is_file() or not is_elf(path):
            continue
        needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", output_of("readelf", "-d", str(path))))
        for name, where in re.findall(r"^\s*(\S+) => (.+?)(?: \(0x|$)",
                                      output_of("ldd", str(path), LD_LIBRARY_PATH=places), re.MULTILINE):
            if name not in needed:
                continue
            if where == "not found":
                sys.exit(f"sbom: {name}, to which {path} is linked, is not found")
            if not pathlib.Path(where).resolve().is_relative_to(prefix):
                found[name] = pathlib.Path(where)
    return found


def torch_of(prefix):
    """The folder of the wheel `torch` whose libraries the framework uses."""
    found = re.search(r"libtorch_cpu\.so => (/\S+)", output_of("ldd", str(prefix / "lib/libcasdm_framework.so")))
    if found is None:
        sys.exit(f"sbom: {prefix}/lib/libcasdm_framework.so does not find LibTorch")
    return pathlib.Path(found.group(1)).resolve().parent.parent


def debian_package(library):
    """(package, version) of a library of the system, or nothing."""
    for path in (library, library.resolve(), pathlib.Path("/usr") / library.relative_to("/")):
        owner = subprocess.run(["dpkg-query", "--search", str(path)], capture_output=True, text=True).stdout
        if owner:
            package = owner.split(":", 1)[0]
            shown = output_of("dpkg-query", "--show", "--showformat=${Version}\n", package)
            return package, shown.split("\n", 1)[0]
    return None


def debian_licence(package):
    for beginning, licence in LICENCES.items():
        if package.startswith(beginning):
            return licence
    sys.exit(f"sbom: tools/sbom.py has no licence of the Debian package {package}: see /usr/share/doc/{package}/copyright")


def package(name, number, licence, **more):
    return {
        "SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.]", "-", name),
        "name": name,
        "versionInfo": number,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": licence,
        "licenseDeclared": licence,
        "copyrightText": "NOASSERTION",
        **more,
    }


def purl(kind, name, number):
    return {"externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                              "referenceLocator": f"pkg:{kind}/{name}@{number}"}]}


def main(prefix):
    prefix = pathlib.Path(prefix).resolve()
    torch = torch_of(prefix)
    packages = {"casdm": package("casdm", version(), "Apache-2.0")}
    unknown = []
    for name, library in sorted(libraries_of(prefix, torch).items()):
        if library.resolve().is_relative_to(torch):
            continue
        found = debian_package(library)
        if found is None:
            unknown.append(f"{name} ({library})")
            continue
        packages[found[0]] = package(*found, debian_licence(found[0]), **purl("deb/debian", *found))
    if unknown:
        sys.exit("sbom: of no Debian package, and not LibTorch's: " + ", ".join(unknown))
    number = re.search(r"__version__ = '([^']+)'", (torch / "version.py").read_text()).group(1)
    packages["torch"] = package("torch", number, "BSD-3-Clause", **purl("pypi", "torch", number))
    emoji = hashlib.sha256((ROOT / "examples/data/emoji32.zip").read_bytes()).hexdigest()
    packages["emoji32.zip"] = package("emoji32.zip", version(), "OFL-1.1",
                                      checksums=[{"algorithm": "SHA256", "checksumValue": emoji}])

    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", datetime.datetime.now().timestamp()))
    created = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    own = packages["casdm"]["SPDXID"]
    kinds = {name: "CONTAINS" if name == "emoji32.zip" else "DEPENDS_ON" for name in packages if name != "casdm"}
    json.dump({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"casdm-{version()}",
        "documentNamespace": f"https://spdx.org/spdxdocs/casdm-{version()}-{emoji[:16]}-{seconds}",
        "creationInfo": {"created": created, "creators": ["Tool: casdm-sbom"]},
        "packages": list(packages.values()),
        "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
                           "relatedSpdxElement": own}] +
                         [{"spdxElementId": own, "relationshipType": kind,
                           "relatedSpdxElement": packages[name]["SPDXID"]} for name, kind in kinds.items()],
    }, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Bill of materials of an installed casdm, as SPDX 2.3 JSON, and the licences of what it names.

  sbom.py PREFIX > casdm.spdx.json
  sbom.py --licences FOLDER [PREFIX]

PREFIX is a folder that `cmake --install` filled. What is listed: the Debian packages of the libraries that programs and
plugins need, read from these files, and of the headers and the static library that are compiled in; LibTorch; data that
carry a licence of their own. The time is SOURCE_DATE_EPOCH, if that is set.

--licences copies the Debian packages' copyright files into FOLDER, by the names of their sources: those of what is compiled
in, and with PREFIX also those of the libraries, except the ones that every Linux has.
"""

import datetime
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Of the Debian packages, by the beginnings of their names: what their copyright files say, in the words of SPDX.
LICENCES = {
    "libarchive": "BSD-2-Clause",
    "libboost": "BSL-1.0",
    "libbz2": "bzip2-1.0.6",
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
    "nlohmann-json": "MIT",
    "zlib1g": "Zlib",
}
EVERYWHERE = ("libc6", "libgcc", "libstdc++", "zlib1g")
HEADERS = ("boost/version.hpp", "nlohmann/json.hpp", "toml++/toml.h")


def output_of(*command, **environment):
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environment}).stdout


def version():
    return re.search(r"project\(casdm VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def libraries_of(prefix, torch):
    """The libraries that the files below `prefix` need, and those that these need, by name; without those of the prefix
    and those that LibTorch needs."""
    found = {}
    places = f"{prefix}/lib:{torch}/lib"  # plugins find these where the program has loaded them
    files = [path for path in sorted(prefix.rglob("*")) if path.is_file() and not path.is_symlink() and is_elf(path)]
    while files:
        path = files.pop(0)
        needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", output_of("readelf", "-d", str(path))))
        for name, where in re.findall(r"^\s*(\S+) => (.+?)(?: \(0x|$)",
                                      output_of("ldd", str(path), LD_LIBRARY_PATH=places), re.MULTILINE):
            if name not in needed:
                continue
            if where == "not found":
                sys.exit(f"sbom: {name}, to which {path} is linked, is not found")
            library = pathlib.Path(where).resolve()
            if library.is_relative_to(prefix) or library.is_relative_to(torch) or name in found:
                continue
            found[name] = pathlib.Path(where)
            files.append(library)
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


def linked(prefix, torch):
    """{package: version} of the libraries below `prefix`."""
    packages, unknown = {}, []
    for name, library in sorted(libraries_of(prefix, torch).items()):
        found = debian_package(library)
        if found is None:
            unknown.append(f"{name} ({library})")
        else:
            packages[found[0]] = found[1]
    if unknown:
        sys.exit("sbom: of no Debian package, and not LibTorch's: " + ", ".join(unknown))
    return packages


def compiled_in():
    """{package: version} of headers, and of libarchive where it is linked statically."""
    files = [pathlib.Path("/usr/include") / header for header in HEADERS]
    archive = pathlib.Path(output_of(os.environ.get("CC", "cc"), "-print-file-name=libarchive.a").strip())
    if archive.is_absolute():
        files.append(archive.resolve())
    packages = {}
    for file in files:
        found = debian_package(file)
        if found is None:
            sys.exit(f"sbom: {file}, which is compiled in, is of no Debian package")
        packages[found[0]] = found[1]
    return packages


def copy_licences(folder, prefix):
    names = {*compiled_in(), *(linked(prefix, torch_of(prefix)) if prefix else ())}
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(names):
        if not name.startswith(EVERYWHERE):
            source = output_of("dpkg-query", "--show", "--showformat=${source:Package}\n", name).split("\n", 1)[0]
            shutil.copyfile(f"/usr/share/doc/{name}/copyright", folder / source)


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
    compiled = compiled_in()
    for name, number in {**linked(prefix, torch), **compiled}.items():
        packages[name] = package(name, number, debian_licence(name), **purl("deb/debian", name, number))
    number = re.search(r"__version__ = '([^']+)'", (torch / "version.py").read_text()).group(1)
    packages["torch"] = package("torch", number, "BSD-3-Clause", **purl("pypi", "torch", number))
    emoji = hashlib.sha256((ROOT / "examples/data/emoji32.zip").read_bytes()).hexdigest()
    packages["emoji32.zip"] = package("emoji32.zip", version(), "OFL-1.1",
                                      checksums=[{"algorithm": "SHA256", "checksumValue": emoji}])

    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", datetime.datetime.now().timestamp()))
    created = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    own = packages["casdm"]["SPDXID"]
    kinds = {name: "CONTAINS" if name in ("emoji32.zip", *compiled) else "DEPENDS_ON" for name in packages if name != "casdm"}
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
    arguments = sys.argv[1:]
    if arguments[:1] == ["--licences"] and len(arguments) in (2, 3):
        copy_licences(pathlib.Path(arguments[1]), pathlib.Path(arguments[2]).resolve() if len(arguments) == 3 else None)
    elif len(arguments) == 1 and not arguments[0].startswith("-"):
        main(arguments[0])
    else:
        sys.exit(__doc__.strip())

"""Version and dependencies of the wheel, for scikit-build-core: from the build that is packed, else from CMakeLists.txt."""

import os
import pathlib
import re

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def found(pattern, file):
    match = re.search(pattern, file.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"{file} has no line {pattern}")
    return match[1]


def minor(version):
    return ".".join(version.split(".")[:2])


def dynamic_metadata(_settings, _project):
    usual = found(r"^set\(CASDM_TORCH_RELEASE ([0-9.]+) ", SOURCE / "CMakeLists.txt")
    cache = pathlib.Path(os.environ.get("CASDM_BUILD", SOURCE / "build" / "release")) / "CMakeCache.txt"
    torch = found(r"^CASDM_TORCH_RELEASE:STRING=([0-9.]+)$", cache) if cache.exists() else usual
    version = found(r"^project\(casdm VERSION ([0-9.]+) ", SOURCE / "CMakeLists.txt")
    if minor(torch) != minor(usual):
        version += f"+torch{minor(torch)}"
    return {"version": version, "dependencies": [f"torch=={minor(torch)}.*"]}

#!/usr/bin/env python3
"""What a LibTorch made of PyPI wheels still lacks, as requirements for pip, one per line.

    wheel_requirements.py slim|tests|full TORCH_VERSION

Run it with the python of the virtual environment in question. It follows the installed wheels' own
metadata (torch -> cuda-toolkit[extras] -> nvidia-*), so no versions are written here. Metadata of
a wheel that is not installed cannot be read: install what is printed (with `pip install --no-deps`)
and ask again, until nothing is printed.

slim: torch, the libraries that libtorch_cpu.so itself needs (the CUDA runtime and CUPTI), and the headers that those
of the CUDA runtime include, so that no CUDA toolkit is needed to compile.
tests: slim, and NVRTC, which compiles CUDA kernels without a GPU.
full: torch and all its NVIDIA libraries. Python packages that torch imports are never needed.
"""

import sys
from importlib import metadata

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

SLIM = ("cuda-toolkit", "nvidia-cuda-runtime", "nvidia-cuda-cupti", "nvidia-cuda-crt")
# Not required by torch, which is compiled already.
MORE_EXTRAS = {"cuda-toolkit": ("crt",)}
KINDS = {"slim": SLIM, "tests": (*SLIM, "nvidia-cuda-nvrtc"), "full": ("cuda-toolkit", "nvidia-")}


def installed_distributions():
    """Completely installed distributions by name: pip writes INSTALLER after all other files."""
    distributions = {}
    for distribution in metadata.distributions():
        if distribution.read_text("INSTALLER") and distribution.read_text("RECORD"):
            distributions[canonicalize_name(distribution.metadata["Name"])] = distribution
    return distributions


def applies(requirement, extras):
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def missing(root, wanted, distributions):
    """Requirements, not installed, that are reachable from `root` through names with a prefix in `wanted`."""
    lacking, seen, waiting = [], set(), [root]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        distribution = distributions.get(name)
        if distribution is None or not requirement.specifier.contains(distribution.version, prereleases=True):
            lacking.append(f"{requirement.name}{requirement.specifier}")
            continue
        for line in distribution.requires or []:
            dependency = Requirement(line)
            if canonicalize_name(dependency.name).startswith(wanted) and applies(dependency, requirement.extras):
                dependency.extras.update(MORE_EXTRAS.get(canonicalize_name(dependency.name), ()))
                waiting.append(dependency)
    return sorted(set(lacking))


def main(arguments):
    if len(arguments) != 2 or arguments[0] not in KINDS:
        sys.exit(__doc__)
    root = Requirement(f"torch=={arguments[1]}")
    print("\n".join(missing(root, KINDS[arguments[0]], installed_distributions())), end="")


if __name__ == "__main__":
    main(sys.argv[1:])

#!/usr/bin/env python3
"""Writes the names of LibTorch's functions that have CUDA kernels, as C++ strings.

Usage: operators.py INCLUDE_FOLDER OUTPUT

The wheel declares each of them in ATen/ops/<operator>_cuda_dispatch.h: "add" for add.Tensor, "add_" for the one in
place, "add_outf" for the one with an output argument.
"""

import pathlib
import re
import sys

DECLARATION = re.compile(r"^TORCH_\w*API .*?(\w+)\(", re.MULTILINE)


def main() -> None:
    include, output = map(pathlib.Path, sys.argv[1:])
    headers = sorted((include / "ATen" / "ops").glob("*_cuda_dispatch.h"))
    if not headers:
        sys.exit(f"operators.py: no *_cuda_dispatch.h under {include}/ATen/ops")
    names = set()
    for header in headers:
        declared = DECLARATION.findall(header.read_text())
        if not declared:
            sys.exit(f"operators.py: no declaration was recognised in {header}")
        names.update(declared)
    output.write_text("".join(f'"{name}",\n' for name in sorted(names)))


if __name__ == "__main__":
    main()

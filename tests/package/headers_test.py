#!/usr/bin/env python3
"""CUDA's headers come from LibTorch's wheels, as on a machine without a CUDA toolkit, wherever this one has another.

    headers_test.py BUILD COMPILER TORCH

Asks the compiler again, since a compiler cache and Ninja may know of other headers than those that it finds now.
"""

import json
import os
import re
import shlex
import subprocess
import sys

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..")) + os.sep
CUDA = re.compile(r"/(crt/[^/]*|cuda|cuda_[^/]*|nvrtc)\.h$")


def is_of_cuda(header):
    return CUDA.search(header) is not None and not os.path.realpath(header).startswith(ROOT)


def headers(words):
    """What make would be told after the output: the headers of a compiler's command, which `-M` prints."""
    words = list(words)
    for option in ("-o", "-MT", "-MF"):
        del words[words.index(option) : words.index(option) + 2]
    for option in ("-c", "-MD"):
        words.remove(option)
    rule = subprocess.run([*words, "-M"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return rule.partition(":")[2].replace("\\\n", " ").split()


def main(build, compiler, torch):
    if not os.path.exists(os.path.join(build, "build.ninja")):
        print("skipped: only Ninja tells which files include CUDA's headers")
        return 77
    ninja = ["ninja", "-C", build, "-t"]
    os.chdir(build)
    outputs, output = set(), ""
    for line in subprocess.run([*ninja, "deps"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
        if line.startswith(" "):
            if is_of_cuda(line.strip()):
                outputs.add(output)
        else:
            output = line.partition(":")[0]
    commands = json.loads(subprocess.run([*ninja, "compdb"], check=True, stdout=subprocess.PIPE, text=True).stdout)
    wheels = os.path.dirname(os.path.realpath(torch)) + os.sep
    own, others = set(), set()
    for command in commands:
        words = shlex.split(command["command"])
        if command["output"] not in outputs or compiler not in words:
            continue
        for header in headers(words[words.index(compiler) :]):
            if is_of_cuda(header):
                (own if os.path.realpath(header).startswith(wheels) else others).add(header)
    print(f"{len(outputs)} objects include {len(own)} headers of CUDA")
    assert own, f"no header was read from {wheels}"
    assert not others, f"not in {wheels}, so a machine without a CUDA toolkit lacks them: {sorted(others)}"
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

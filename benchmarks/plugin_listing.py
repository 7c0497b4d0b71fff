#!/usr/bin/env python3
"""How long a listing of many plugins takes, compared with processes that do less and more.

Copies the plugins beside the program under other ids until there are enough (their notes are as long as real
ones), and times in turn, in one run:

    casdm --help                                 the least that the program does
    casdm plugins list                           without and with the copies
    casdm plugins list --json                    with the copies: more to print
    python3 -S -c pass                           a peer that only starts and ends
    casdm train --help                           a process that starts LibTorch, as loading plugins would

Prints the median and the fastest of each in milliseconds, and the median's ratio to the peer's. Fails if the listing
started LibTorch. The goal: at most 30 ms for 100 plugins.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def other_id(plugin_id, number):
    """An id of the same length, so that it can replace the other in a note."""
    tail = f"{number:03d}"
    return plugin_id[: -len(tail)] + tail


def make_plugins(source, folder, count):
    """`count` libraries in `folder`: copies of those in `source`, each with its own id."""
    originals = sorted(source.glob("*.so"))
    if not originals:
        sys.exit(f"{source} holds no plugin; build casdm first")
    folder.mkdir()
    for number in range(count):
        original = originals[number % len(originals)]
        name = other_id(original.stem, number)
        content = original.read_bytes().replace(f'"id":"{original.stem}"'.encode(), f'"id":"{name}"'.encode())
        (folder / f"{name}.so").write_bytes(content)


def milliseconds(command, environment):
    started = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return 1000 * (time.perf_counter() - started)


def libraries_mapped(command, environment):
    """Names of the libraries that a command loaded, as reported by the dynamic linker."""
    traced = dict(environment, LD_DEBUG="files")
    result = subprocess.run(command, env=traced, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    lines = (line for line in result.stderr.splitlines() if "calling init:" in line)
    return sorted({Path(line.split("calling init:")[1].strip()).name for line in lines})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=Path("build/release/bin/casdm"))
    parser.add_argument("--plugins", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=31)
    options = parser.parse_args()
    program = options.program.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        source = program.parent.parent / "lib" / "casdm" / "plugins"
        make_plugins(source, scratch / "many", options.plugins)
        plain = {**os.environ, "XDG_DATA_HOME": str(scratch / "none")}
        plain.pop("CASDM_PLUGIN_PATH", None)
        many = {**plain, "CASDM_PLUGIN_PATH": str(scratch / "many")}
        casdm = str(program)
        cases = [
            ("casdm --help", [casdm, "--help"], plain),
            ("casdm plugins list, installed ones", [casdm, "plugins", "list"], plain),
            (f"casdm plugins list, {options.plugins} more", [casdm, "plugins", "list"], many),
            (f"casdm plugins list --json, {options.plugins} more", [casdm, "plugins", "list", "--json"], many),
            ("python3 -S -c pass", [sys.executable, "-S", "-c", "pass"], plain),
            ("casdm train --help (starts LibTorch)", [casdm, "train", "--help"], plain),
        ]
        times = {name: [] for name, _, _ in cases}
        for _ in range(options.repeats):
            for name, command, environment in cases:
                times[name].append(milliseconds(command, environment))
        peer = statistics.median(times["python3 -S -c pass"])
        print(f"{'':45}{'median ms':>10}{'fastest ms':>12}{'ratio':>8}")
        for name, values in times.items():
            median = statistics.median(values)
            print(f"{name:45}{median:10.1f}{min(values):12.1f}{median / peer:8.2f}")
        loaded = libraries_mapped([casdm, "plugins", "list"], many)
        print("libraries loaded by the listing:", ", ".join(loaded))
        if any("torch" in name or "c10" in name for name in loaded):
            sys.exit("the listing started LibTorch")


if __name__ == "__main__":
    main()

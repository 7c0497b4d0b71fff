#!/usr/bin/env python3
"""Images per second, milliseconds per step and peak memory: of a run, from its metrics.jsonl after the first lines, or of a
peer, from what benchmarks/cpu/peer.py printed.

    rate.py RUN [LINES_LEFT_OUT]
    rate.py FILE
"""

import json
import pathlib
import statistics
import sys


def row(rate, milliseconds, memory, words=""):
    size = "" if memory is None else f", {memory / 2**30:.1f} GiB"
    return f"{rate:.0f} images/s, {milliseconds:.1f} ms a step{words}{size}"


def of_run(run, left_out):
    text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    lines = [line for line in lines if "seconds" in line]
    if len(lines) < left_out + 2:
        sys.exit(f"rate.py: {run} has only {len(lines)} lines of measurements")
    first, last = lines[left_out], lines[-1]
    seconds, steps = last["seconds"] - first["seconds"], last["step"] - first["step"]
    images = last["images"] - first["images"]
    return row(images / seconds, 1e3 * seconds / steps, last.get("device_memory"), f" over {steps} steps")


def of_peer(file):
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    result = json.loads(lines[-1])
    rate = statistics.median(result["rates"])
    return row(rate, 1e3 * result["batch"] / rate, result.get("device_memory"))


def main(path, left_out=1):
    path = pathlib.Path(path)
    print(of_run(path, int(left_out)) if path.is_dir() else of_peer(path))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])

#!/usr/bin/env python3
"""Images per second, milliseconds per step and peak memory of a run, from its metrics.jsonl after the first lines.

    rate.py RUN [LINES_LEFT_OUT]
"""

import json
import pathlib
import sys


def main(run, left_out=1):
    text = (pathlib.Path(run) / "metrics.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    lines = [line for line in lines if "seconds" in line]
    if len(lines) < int(left_out) + 2:
        sys.exit(f"rate.py: {run} has only {len(lines)} lines of measurements")
    first, last = lines[int(left_out)], lines[-1]
    seconds, steps = last["seconds"] - first["seconds"], last["step"] - first["step"]
    images = last["images"] - first["images"]
    memory = f", {last['device_memory'] / 2**30:.1f} GiB" if "device_memory" in last else ""
    print(f"{images / seconds:.0f} images/s, {1e3 * seconds / steps:.1f} ms a step over {steps} steps{memory}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])

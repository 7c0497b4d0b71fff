#!/usr/bin/env python3
"""What the GPU does in one training step, from traces (trace.cpp) of two runs of different lengths.

    step.py TRACE OTHER_TRACE STEPS_BETWEEN [ROWS]
"""

import sys


def read(path):
    rows = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            count, milliseconds, size, name = line.rstrip("\n").split("\t", 3)
            before = rows.get(name, (0, 0, 0))
            rows[name] = tuple(a + float(b) for a, b in zip(before, (count, milliseconds, size)))
    return rows


def main(short, long, steps, rows=20):
    before, after = read(short), read(long)
    step = {n: tuple((b - a) / int(steps) for a, b in zip(before.get(n, (0, 0, 0)), v)) for n, v in after.items()}
    kernels = {name: row for name, row in step.items() if name.startswith("kernel ")}
    count, busy = (sum(row[i] for row in kernels.values()) for i in (0, 1))
    print(f"{count:.0f} kernels a step, {busy:.1f} ms")
    for name, row in sorted(step.items()):
        if name not in kernels and row[0] > 0.05:
            print(f"{row[0]:8.1f} x {name}, {row[2] / 1e6:.2f} MB")
    for name, row in sorted(kernels.items(), key=lambda item: -item[1][1])[: int(rows)]:
        print(f"{row[0]:8.1f} x {row[1]:7.2f} ms  {name[7:110]}")


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])

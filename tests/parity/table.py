#!/usr/bin/env python3
"""Makes docs/parity.md from what the parity suites measured, or checks that the committed one has the same rows.

    table.py REPORTS --out docs/parity.md     REPORTS: the folder of the suites' *.jsonl (build/release/parity)
    table.py REPORTS --check docs/parity.md   rows are compared without their digits: component, quantity, peer and
                                              version, number of comparisons, bound
"""

import argparse
import json
import os
import sys
from pathlib import Path

TEXT = """# Parity

How far each component is from the public implementation that the field trusts. The suites compare tensor by tensor
(`ctest --preset release -L parity -V` prints every difference); this table is made of what they measured:

    python3 tests/parity/table.py build/release/parity --out docs/parity.md

"Largest difference" is max |ours - peer| / max |peer| over one tensor, the largest of all comparisons. Bounds are 1e-5 for
single evaluations in float32, 1e-4 for whole sampling trajectories, 1e-10 for tables in double precision; "exact" means
equal. "+ rounding": the peer's own distance from its formula in double precision is added (piq takes variances as
E[x^2] - E[x]^2, which cancels where images are smooth). Digits vary a little with the processor.

The peers' outputs are in `tests/parity/references`; its [README](../tests/parity/README.md) says how they are made, and how
to check a set of your own.
"""
COLUMNS = ["component", "quantity", "peer", "comparisons", "largest difference", "bound"]


def rows_of(reports):
    rows = []
    for path in sorted(reports.glob("*.jsonl")):
        rows += [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(rows, key=lambda row: (row["component"], row["quantity"], row["peer"]))


def bound(row):
    if row["bound"] == 0:
        return "exact"
    return f"{row['bound']:.0e}".replace("e-0", "e-") + (" + rounding" if row["has_rounding"] else "")


def largest(row):
    value = row["largest"]
    return "0" if value == 0 else value if isinstance(value, str) else f"{value:.1e}".replace("e-0", "e-")


def table(rows):
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
    for row in rows:
        cells = [
            f"`{row['component']}`",
            row["quantity"],
            f"{row['peer']} {row['version']}",
            str(row["cases"]),
            largest(row),
            bound(row),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def without_digits(lines):
    """The table's rows without the measured column."""
    rows = [line.split(" | ") for line in lines if line.startswith("| `")]
    return {tuple(row[:4] + row[5:]) for row in rows}


def check(rows, page):
    if not page.is_file():
        sys.exit(f"table.py: {page} does not exist; make it with --out")
    fresh, committed = without_digits(table(rows)), without_digits(page.read_text().splitlines())
    for row in sorted(fresh - committed):
        print(f"not in {page}: {' | '.join(row)}")
    for row in sorted(committed - fresh):
        print(f"not measured: {' | '.join(row)}")
    if fresh != committed:
        sys.exit(f"table.py: {page} is not what the suites measure; make it again with --out")
    print(f"{page}: {len(committed)} rows, as measured")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--out", type=Path)
    group.add_argument("--check", type=Path)
    arguments = parser.parse_args()
    if arguments.check and os.environ.get("CASDM_PARITY_DIR"):
        print("not checked: CASDM_PARITY_DIR is set, so the suites did not compare with the committed references")
        return
    rows = rows_of(arguments.reports)
    if not rows:
        sys.exit(f"table.py: no measurements in {arguments.reports}; run the parity suites first")
    if arguments.check:
        check(rows, arguments.check)
    else:
        arguments.out.write_text(TEXT + "\n" + "\n".join(table(rows)) + "\n")


if __name__ == "__main__":
    main()

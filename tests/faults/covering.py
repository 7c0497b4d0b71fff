"""Rows of levels in which every two levels of two factors meet that may meet."""

import itertools
import random


def covering(factors, is_allowed, seed, among=None):
    """Greedy: each row is the best of some random ones that begin with a pair not met yet.

    factors     {name: [level, ...]}
    is_allowed  row -> bool
    among       names of the factors whose pairs count; default: all
    """
    source = random.Random(f"covering/{seed}")
    names = [name for name in factors if among is None or name in among]
    missing = {((a, x), (b, y)) for a, b in itertools.combinations(names, 2) for x in factors[a] for y in factors[b]}
    rows = []

    def completed(pair):
        for _ in range(300):
            row = {name: source.choice(levels) for name, levels in factors.items()} | dict(pair)
            if is_allowed(row):
                return row
        return None

    def pairs_of(row):
        return set(itertools.combinations([(name, row[name]) for name in names], 2))

    while missing:
        pair = min(missing)
        candidates = [row for row in (completed(pair) for _ in range(40)) if row]
        if not candidates:
            missing.remove(pair)  # the constraints forbid it
            continue
        rows.append(max(candidates, key=lambda row: len(pairs_of(row) & missing)))
        missing -= pairs_of(rows[-1])
    return rows

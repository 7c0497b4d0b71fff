"""Every call that changes a folder fails, is the last one, or loses its power; then the command again, or --resume."""

import itertools

from bench import CACHE, CASES, Loss, check_end
from program import control_characters

# How a call can go wrong, and which calls can; a new way needs only one line.
NAMES = {"open", "mkdir", "rename", "link", "unlink", "rmdir"}
GROWING = {"open", "mkdir", "rename", "link", "write", "fsync", "ftruncate"}
ALL = NAMES | GROWING
WAYS = {
    "fail=ENOSPC": GROWING,
    "fail=ENOSPC last=1000000": GROWING,
    "fail=EIO": ALL,
    "fail=EACCES": NAMES,
    "kill=before": ALL,
    "kill=within": {"write"},
    "kill=after": ALL,
    "cut=ordered": ALL,
    "cut=strict": ALL,
}


def run(bench, is_long):
    points = [(case, number, call, way) for case in CASES for number, call in telling(bench.calls(case.name))
              for way, calls in WAYS.items() if call[0] in calls]
    # The short form is spread over all of them, with the numbers of the long one.
    step = 1 if is_long else max(1, len(points) // 70)
    bench.each("failures", range(bench.options.seed % step, len(points), step),
               lambda trial: fail(bench, trial, *points[trial.number]))


def telling(calls):
    """Of consecutive writes to one file the first, one in the middle and the last; all other calls."""
    rows = [list(row) for _, row in itertools.groupby(calls, key=lambda entry: entry[1])]
    return [row[index] for row in rows for index in sorted({0, len(row) // 2, len(row) - 1})]


def fail(bench, trial, case, number, call, way):
    bench.begin(trial, case)
    trial.note(f"call {number} ({call[0]} {call[1]}): {way}")
    shadow = bench.scratch / "shadow"
    shadow.mkdir(exist_ok=True)
    plan = f"under={trial.folder} at={number} {way} shadow={shadow}"
    outcome = bench.program.run(case.arguments, trial.folder, plan)
    trial.note(f"status {outcome.status}: {outcome.last_words}")
    is_said = False
    if way.startswith("fail"):
        check_end(outcome, {0, 1, 2}, f"{case.name} with a failing {call[0]}")
        if control_characters(outcome.err):
            raise Loss("control characters on stderr", repr(outcome.err))
        is_said = case.warns and "warning: " in outcome.err
        found = bench.difference(case, trial.folder) if outcome.status == 0 and not is_said else ""
        if found:
            raise Loss(f"{case.name} takes a failing {call[0]} for success", found)
    # The output of others arrives in pieces of any size.
    elif outcome.status != -9 and not case.starts_others and not case.orders_vary:
        raise Loss(f"{case.name} is not deterministic", f"it makes other calls than before: call {number} is missing")
    return bench.recover(trial, case, spared=CACHE if is_said else "")

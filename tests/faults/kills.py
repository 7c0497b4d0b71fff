"""SIGKILL at random moments during every command that writes; then the command again, or --resume."""

from bench import CASES


def run(bench, is_long):
    weights = {"train": 6, "behind": 4, "resume": 4, "sample": 3}
    cases = [case for case in CASES for _ in range(weights.get(case.name, 1))]
    bench.each("kills", range(1200 if is_long else 40), lambda trial: kill(bench, trial, cases[trial.number % len(cases)]))


def kill(bench, trial, case):
    """One to three kills, each at a random time or, to hit a write more often, shortly after some call."""
    bench.begin(trial, case)
    _, seconds = bench.whole(case.name)
    calls = bench.calls(case.name)
    for _ in range(trial.random.choice([1, 1, 2, 3] if case.is_training else [1])):
        plan, moment = "", trial.random.uniform(0, seconds)
        if calls and trial.random.random() < 0.5:
            when = trial.random.choice(["before", "after", "within"])
            plan = (f"under={trial.folder} at={trial.random.randint(1, len(calls))} kill={when} "
                    f"delay={trial.random.choice([0, 0, 100, 3000])}")
            moment = None
        outcome = bench.program.run(bench.again(case, trial.folder), trial.folder, plan, kill_after=moment)
        trial.note(f"killed {plan or f'after {moment:.4f} s'}: status {outcome.status}")
    return bench.recover(trial, case)

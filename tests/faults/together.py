"""Two processes on one run, sampling beside training, and standard output on a full disk."""

import time

from bench import CASES, RUN, Loss, check_end


def run(bench, is_long):
    bench.each("starts", range(100 if is_long else 3), lambda trial: two_starts(bench, trial))
    bench.each("resumes", range(100 if is_long else 3), lambda trial: two_resumes(bench, trial))
    bench.each("beside", range(40 if is_long else 1), lambda trial: sampling_beside(bench, trial))
    bench.each("stdout", range(len(CASES)), lambda trial: full_stdout(bench, trial, CASES[trial.number]))


def race(bench, trial, case):
    """Two processes start the case; one wins, the other is refused and says why; the result is that of one."""
    bench.begin(trial, case)
    first = bench.program.start(case.arguments, trial.folder)
    time.sleep(trial.random.choice([0, 0, 0.005, 0.05, 0.2]))
    second = bench.program.start(case.arguments, trial.folder)
    outcomes = [first.wait(), second.wait()]
    for outcome in outcomes:
        trial.note(f"status {outcome.status}: {outcome.last_words}")
    for outcome in outcomes:
        check_end(outcome, {0, 1, 2}, f"{case.name} beside another")
    refused = [outcome for outcome in outcomes if outcome.status != 0]
    if len(refused) == 2:
        raise Loss(f"{case.name} twice at once: both are refused")
    found = bench.difference(case, trial.folder)
    if found:
        raise Loss(f"{case.name} twice at once makes another run", found)
    if not refused:
        return "one after the other"
    if RUN not in refused[0].err:
        raise Loss(f"{case.name} is refused without the run's name", refused[0].last_words)
    return "second refused"


def two_starts(bench, trial):
    return race(bench, trial, bench.case("train"))


def two_resumes(bench, trial):
    return race(bench, trial, bench.case("resume"))


def sampling_beside(bench, trial):
    """While checkpoints come and go with keep_last = 1, every sampling uses a complete one."""
    bench.begin(trial, bench.case("train"))
    training = bench.program.start(
        [*bench.case("train").arguments, "--set", "checkpoint.keep_last=1", "--set", "checkpoint.every_images=4",
         "--set", "train.total_images=160", "--set", "log.sample_every_images=0"], trial.folder)
    drawn = 0
    while training.is_running() and drawn < 20 and not bench.is_late():
        if not list(trial.folder.glob(f"{RUN}/checkpoints/0*/state.json")):
            time.sleep(0.01)
            continue
        outcome = bench.program.run(["sample", RUN, "--num", "1", "--steps", "2", "--out", f"o{drawn}"], trial.folder)
        if outcome.status != 0:
            trial.note(f"sampling {drawn}: status {outcome.status}: {outcome.last_words}")
            training.wait()
            raise Loss("sampling beside a training fails", outcome.last_words)
        drawn += 1
    outcome = training.wait()
    check_end(outcome, {0}, "training beside samplings")
    return "drawn"


def full_stdout(bench, trial, case):
    """Output to stdout was lost, and the exit status says so; the files are there."""
    bench.begin(trial, case)
    outcome = bench.program.run(case.arguments, trial.folder, stdout="/dev/full")
    trial.note(f"status {outcome.status}: {outcome.last_words}")
    check_end(outcome, {0, 1}, f"{case.name} > /dev/full")
    if outcome.status == 0 and bench.writes_stdout(case.name):
        raise Loss(f"{case.name} > /dev/full ends with status 0")
    return "said" if outcome.status == 1 else "nothing to say"

"""What the drivers share: the experiment, the commands under test, trials that can be repeated, counts."""

import collections
import fcntl
import functools
import math
import pathlib
import random
import shutil
import time
from dataclasses import dataclass, field

from comparison import difference, listing
from program import Program, copy

ROOT = pathlib.Path(__file__).resolve().parents[2]

UNET = """type = "unet"
channels = 8
channel_mult = [1]
num_res_blocks = 1
attention_resolutions = []
groups = 4
"""

# 8 steps of about 10 ms. The log's interval is not a multiple of the checkpoint's, so that some means extend across a
# resume.
EXPERIMENT = f"""[run]
name = "t"
device = "cpu"
threads = 1
[data]
type = "shapes"
image_size = 16
workers = 1
[noise]
type = "linear"
[timesteps]
type = "loss_second_moment"
[head]
type = "cascade"
[head.theta]
{UNET}[head.phi]
{UNET}[[metrics]]
type = "l1"
[sampler]
type = "ddim"
num_inference_steps = 2
[train]
batch_size = 4
total_images = 32
[ema]
decay = 0.9
snapshot_every_images = 16
[[ema.also]]
name = "p05"
sigma_rel = 0.05
[[ema.also]]
name = "p10"
sigma_rel = 0.1
[log]
every_images = 12
sample_every_images = 16
sample_count = 2
[checkpoint]
every_images = 8
keep_last = 2
"""

RUN = "runs/t"

# The table of judges, which take milliseconds.
JUDGES = """[evaluate]
num = 6
reference_num = 12
[[evaluate.judges]]
type = "random_patches"
features = 4
scales = 1
metrics = [{ type = "frechet" }, { type = "kernel_distance" }]
"""

# Two arms with one seed, trained and judged in their own processes.
SWEEP = """name = "s"
base = "tiny.toml"
set = ["train.total_images=8", "log.every_images=4", "log.sample_count=0",
       "log.sample_every_images=0", "checkpoint.every_images=4"]
seeds = [0]
evaluate = ["--config", "judges.toml"]
[[arms]]
name = "one"
[[arms]]
name = "two"
set = ["metrics=[]"]
"""


@dataclass
class Case:
    """A command that writes. `start` is the template for its folder. After a stop, a training is continued with `--resume
    RUN`, a `repeated` command by running it again. A repeated command may leave more than one of the folders named like
    `aside`, a path in the folder; everything else must be the same."""

    name: str
    arguments: list
    start: str = "run"
    repeated: bool = False
    aside: str = ""
    warns: bool = False  # and continues, where a failed write only costs time: a cache, a log, a record
    starts_others: bool = False  # processes, which run on for a moment when this one is killed
    orders_vary: bool = False  # of its calls, which two threads make

    @property
    def is_training(self):
        return self.arguments[0] == "train"


CACHE = "cache/"
REFERENCE = ["evaluate", "--reference", "tiny.toml", "--config", "judges.toml"]

# A new command needs only one line.
CASES = [
    Case("train", ["train", "tiny.toml"], "experiment"),
    Case("behind", ["train", "tiny.toml", "--set", "checkpoint.in_background=always"], "experiment", orders_vary=True,
         warns=True),
    Case("resume", ["train", "--resume", RUN], "part"),
    Case("longer", ["train", "--resume", RUN, "--set", "train.total_images=40"], repeated=True),
    Case("back", ["train", "--resume", f"{RUN}/checkpoints/000000000024"], repeated=True, aside=f"{RUN}/set-aside-"),
    Case("overwrite", ["train", "tiny.toml", "--overwrite", "--set", "train.total_images=8"], "part", repeated=True),
    Case("judged", ["train", "judged.toml"], "experiment", warns=True),
    Case("evaluate", ["evaluate", RUN, "--config", "judges.toml", "--floor"], warns=True),
    Case("keep", ["evaluate", RUN, "--config", "judges.toml", "--out", "o"], warns=True),
    Case("write", [*REFERENCE, "--write-reference", "r.npz", "--overwrite"], "experiment", warns=True),
    Case("states", [*REFERENCE, "--write-reference", "r.safetensors", "--overwrite"], "experiment", warns=True),
    Case("compare", ["compare", RUN, "--out", "c"]),
    Case("report", ["report", RUN]),
    Case("sweep", ["sweep", "sweep.toml", "--no-pilot"], "experiment", warns=True, starts_others=True),
    Case("sample", ["sample", RUN, "--num", "5", "--batch", "2", "--out", "o"]),
    Case("resample", ["sample", RUN, "--num", "3", "--batch", "2", "--out", "o", "--overwrite"], "sampled"),
    Case("ema", ["ema", RUN, "--sigma-rel", "0.08", "--out", "p08.safetensors"]),
    Case("import", ["import", "zip.pt", "--out", "imported.safetensors"], "experiment"),
    Case("export", ["export", RUN, "--module", "theta", "--out", "theta.safetensors"]),
    Case("diffusers", ["export", RUN, "--module", "theta", "--out", "theta", "--layout", "diffusers"]),
    Case("pack", ["data", "pack", "tiny.toml", "--out", "p.zip", "--set", "data.num_images=3"], "experiment"),
    Case("init", ["config", "init", "--out", "mine.toml"], "experiment"),
    Case("schema", ["config", "schema", "--out", "schema.json"], "experiment"),
    Case("reference", ["config", "reference", "--out", "pages"], "experiment"),
    Case("new", ["plugins", "new", "--kind", "metric", "gap"], "experiment"),
    Case("lock", ["plugins", "lock", "--config", "tiny.toml"], "experiment"),
]


class Loss(Exception):
    """Something was lost, silently accepted, or reported without its name. The kind groups losses with one cause."""

    def __init__(self, kind, details=""):
        super().__init__(f"{kind}: {details}" if details else kind)
        self.kind = kind


@dataclass
class Trial:
    number: int
    folder: pathlib.Path
    random: random.Random
    notes: list = field(default_factory=list)

    def note(self, text):
        """Reported when a trial is lost."""
        self.notes.append(str(text))


class Bench:
    def __init__(self, scratch, options):
        self.scratch = scratch
        self.options = options
        self.program = Program(options.build, options.library, scratch, is_warm=not options.cold)
        self.losses = collections.Counter()
        self.drivers = {}  # in order of execution, with the seconds that their short form takes
        self.end = time.monotonic() + options.seconds
        self.templates = scratch / "templates"
        self.templates.mkdir(parents=True)
        # Everything happens under one path, which a run may record; anything to be compared later is moved away.
        self.work = scratch / "trial/work"
        self.work.parent.mkdir()

    # Templates.

    def made(self, target, start, *steps):
        """A copy of the folder `start` in which commands ran, kept at `target`."""
        aside = self.scratch / "aside"
        if self.work.exists():  # of a trial that turns out to need this one
            shutil.move(self.work, aside)
        copy(start, self.work)
        outcomes = []
        for arguments, plan, allowed in steps:
            outcomes.append(self.program.run(arguments, self.work, plan))
            if outcomes[-1].status not in allowed:
                raise RuntimeError(f"casdm {' '.join(arguments)} fails by itself: {outcomes[-1].err}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.work, target)
        if aside.exists():
            shutil.move(aside, self.work)
        return outcomes

    @functools.cache
    def template(self, name):
        """A folder with only the experiment, with a finished run ("run"), with a run that was killed ("part"), or with a
        finished run and its samples ("sampled")."""
        folder = self.templates / name
        if name == "experiment":
            folder.mkdir()
            (folder / "tiny.toml").write_text(EXPERIMENT)
            (folder / "judges.toml").write_text(JUDGES)
            (folder / "judged.toml").write_text(
                'include = ["tiny.toml", "judges.toml"]\nevaluate.every_images = 12\n'
                'evaluate.keep_best = "random_patches.frechet"\n')
            (folder / "sweep.toml").write_text(SWEEP)
            shutil.copy(ROOT / "tests/interchange/files/zip.pt", folder)
            return folder
        if name == "sampled":
            self.made(folder, self.template("run"),
                      (["sample", RUN, "--num", "5", "--batch", "2", "--seed", "7", "--out", "o"], "", {0}))
            return folder
        plan, allowed = "", {0}
        if name == "part":
            second = next(number for number, (call, path) in self.calls("train")
                          if call == "rename" and path.endswith("checkpoints/000000000016"))
            plan, allowed = f"under={self.work} at={second} kill=after", {-9}
        self.made(folder, self.template("experiment"), (self.case("train").arguments, plan, allowed))
        return folder

    def case(self, name):
        return next(case for case in CASES if case.name == name)

    @functools.cache
    def calls(self, name):
        """(number, (call, path in the folder)) of an undisturbed case."""
        case = self.case(name)
        report = self.scratch / f"{name}.calls"
        start = self.template(case.start)
        self.made(self.scratch / "recorded" / name, start,
                  (case.arguments, f"under={self.work} report={report}", {0}))
        lines = [line.split(" ", 2) for line in report.read_text().splitlines()] if report.exists() else []
        return [(int(number), (call, path[len(str(self.work)) + 1:])) for number, call, path in lines]

    @functools.cache
    def whole(self, name):
        """The folder and the seconds of an undisturbed case."""
        case = self.case(name)
        start = self.template(case.start)
        first = self.made(self.scratch / "warm-up" / name, start, (case.arguments, "", {0}))[0]
        folder = self.scratch / "whole" / name
        second = self.made(folder, start, (case.arguments, "", {0}))[0]
        return folder, min(first.seconds, second.seconds)

    @functools.cache
    def writes_stdout(self, case_name):
        case = self.case(case_name)
        target = self.scratch / "stdout" / case_name
        return self.made(target, self.template(case.start), (case.arguments, "", {0}))[0].out != ""

    def remove(self, folder):
        shutil.rmtree(folder, ignore_errors=True)

    # Continuing after a stop.

    def again(self, case, folder):
        """The command that a user would type next."""
        if case.is_training and not case.repeated and (folder / RUN / "config.toml").exists():
            return ["train", "--resume", RUN]
        return self.case("train").arguments if case.name == "resume" else case.arguments

    def recover(self, trial, case, variables=None, spared=""):
        """Goes on, and raises Loss unless the folder is then that of the command that was let alone, or differs only in
        what is missing below `spared`."""
        arguments = self.again(case, trial.folder)
        if case.starts_others:
            wait_for_locks(trial.folder)
        outcome = self.program.run(arguments, trial.folder, variables=variables)
        trial.note(f"again: {' '.join(arguments)}: status {outcome.status}: {outcome.last_words}")
        found = self.difference(case, trial.folder, spared)
        if outcome.status != 0 and (outcome.status != 2 or found):
            raise Loss(f"{case.name} cannot go on", outcome.last_words)
        if found:
            raise Loss(f"{case.name} is not as if let alone: {kind_of(found)}", found)
        return "resumed" if case.is_training else "repeated"

    def difference(self, case, folder, spared=""):
        whole = self.whole(case.name)[0]
        if not case.aside:
            missing = {path for path in listing(whole) if not (folder / path).exists()}
            return difference(whole, folder, {path for path in missing if spared and path.startswith(spared)})
        aside = {path for each in (whole, folder) for path in listing(each) if path.startswith(case.aside)}
        if not any(path.startswith(case.aside) for path in listing(folder)):
            return f"missing {case.aside}1/"
        return difference(whole, folder, aside)

    # Trials and counts.

    def is_late(self):
        return time.monotonic() > self.end

    def end_of(self, driver):
        """When a driver that starts now will have used its share of the remaining time."""
        now = time.monotonic()
        to_come = list(self.drivers.values())[list(self.drivers).index(driver):]
        return now + (self.end - now) * to_come[0] / sum(to_come)

    def each(self, driver, numbers, function):
        """Runs these trials (or --trial alone), prints their counts and the first loss of each kind."""
        if driver not in self.drivers:
            return
        counts = collections.Counter()
        lost = collections.Counter()
        numbers = list(numbers) if self.options.trial is None else [self.options.trial]
        begun, end = time.monotonic(), self.end_of(driver)
        if end < math.inf:  # so that the skipped trials are a random sample
            random.Random(self.options.seed).shuffle(numbers)
        done = 0
        for number in numbers:
            if time.monotonic() > end:
                break
            done += 1
            trial = Trial(number, self.work, random.Random(f"{self.options.seed}/{driver}/{number}"))
            try:
                counts[function(trial)] += 1
            except Loss as loss:
                lost[loss.kind] += 1
                if lost[loss.kind] == 1:
                    self.print_loss(driver, trial, loss)
            if self.options.keep and self.work.exists():
                shutil.move(self.work, self.scratch / f"{driver}-{number}")
            self.remove(self.work)
        words = ", ".join(f"{word} {count}" for word, count in counts.most_common())
        left_out = f"; {len(numbers) - done} left out, time is up" if done < len(numbers) else ""
        print(f"{driver} {done}: {words}{', ' if words else ''}lost {sum(lost.values())} "
              f"({time.monotonic() - begun:.0f} s){left_out}", flush=True)
        for kind, number in lost.most_common():
            print(f"  {number} x {kind}", flush=True)
        self.losses.update(lost)

    def print_loss(self, driver, trial, loss):
        print(f"LOST {driver} {trial.number}: {loss}")
        for note in trial.notes:
            print(f"    {note}")
        form = " --long" if self.options.long else ""
        print(f"    repeat it: tests/faults/run.sh{form} --seed {self.options.seed} --trial {trial.number} --keep {driver}",
              flush=True)

    def begin(self, trial, case):
        copy(self.template(case.start), trial.folder)
        trial.note(f"{case.name}: casdm {' '.join(case.arguments)}")


def wait_for_locks(folder):
    """Waits until no process works in a run any more."""
    for lock in folder.glob("runs/*/*/.lock"):
        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)


def kind_of(found):
    """A difference without the parts that vary from trial to trial."""
    return " ".join(word for word in found.replace(",", " ").split(" ")[:2] if word)


def check_end(outcome, allowed, what):
    """Raises Loss unless the process ended by itself, in time, with an allowed exit status."""
    if outcome.timed_out:
        raise Loss(f"{what} does not end", outcome.last_words)
    if outcome.status < 0:
        raise Loss(f"{what} ends by signal {-outcome.status}", outcome.last_words)
    if outcome.status not in allowed:
        raise Loss(f"{what} ends with status {outcome.status}", outcome.last_words)

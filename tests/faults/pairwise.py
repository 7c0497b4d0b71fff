"""Trains, stops, resumes and samples under combinations of options in which every two options meet, and compares with
the uninterrupted run and with the plain form of what must not matter."""

import json
import re
import shutil
import struct

from bench import Loss, check_end
from comparison import difference, log_lines, tensors_in
from covering import covering
from program import copy

UNET = ('{type = "unet", channels = 8, channel_mult = [1, 2], num_res_blocks = 1, attention_resolutions = [8], '
        'groups = 4, dropout = DROPOUT, checkpoint = CHECKPOINT}')

BASE = {
    "run.name": '"t"', "run.device": '"cpu"', "run.threads": "1",
    "data.type": '"shapes"', "data.image_size": "16", "data.workers": "1", "data.num_images": "50",
    "noise.type": '"cosine"', "noise.num_train_timesteps": "100",
    "sampler.type": '"ddim"', "sampler.num_inference_steps": "2", "sampler.eta": "0.5",
    "train.batch_size": "4", "train.total_images": "24",
    "ema.decay": "0.9",
    "log.every_images": "12", "log.sample_every_images": "16", "log.sample_count": "2",
    "checkpoint.every_images": "8", "checkpoint.keep_last": "2",
}

# Keys of the experiment by factor and level. A new level needs only one line.
FACTORS = {
    "head": {
        "epsilon": {"head.type": '"single"', "head.prediction_type": '"epsilon"', "head.theta": UNET},
        "sample": {"head.type": '"single"', "head.prediction_type": '"sample"', "head.theta": UNET},
        "v": {"head.type": '"single"', "head.prediction_type": '"v_prediction"', "head.theta": UNET},
        "cascade": {"head.type": '"cascade"', "head.theta": UNET, "head.phi": UNET},
        "dual": {"head.type": '"dual"', "head.theta": UNET},
    },
    "precision": {"fp32": {}, "bf16": {"run.precision": '"bf16"'}},
    "checkpointing": {"off": {}, "on": {}},
    "dropout": {"none": {}, "some": {}},
    "accumulate": {"1": {}, "2": {"train.accumulate": "2"}},
    "init": {"none": {}, "run": {"init": '[{module = "theta", from = "BASE"}]'},
             "frozen": {"init": '[{module = "theta", from = "BASE", freeze = true}]'}},
    "grouping": {"module": {}, "joint": {"optimizer.grouping": '"joint"', "optimizer.clip_norm": "0.1"}},
    "averages": {"one": {}, "several": {"ema.also": '[{name = "slow", decay = 0.99}, {name = "half", half_life = 8}]'},
                 "power": {"ema.also": '[{name = "p05", sigma_rel = 0.05}, {name = "p10", sigma_rel = 0.1}]',
                           "ema.snapshot_every_images": "8"}},
    "labels": {"none": {}, "all": {"data.use_labels": "true"},
               "dropped": {"data.use_labels": "true", "data.label_dropout": "0.3"}},
    "guidance": {"off": {}, "on": {"guidance.scale": "1.5"}},
    "augmentation": {"none": {}, "flip": {"data.random_flip": "true"}, "edm": {"augmentation.type": '"edm"'}},
    "timesteps": {"uniform": {}, "logit_normal": {"timesteps.type": '"logit_normal"'},
                  "loss_second_moment": {"timesteps.type": '"loss_second_moment"', "timesteps.history_per_term": "1",
                                         "noise.num_train_timesteps": "8"}},
    "metric": {"none": {}, "ssim": {"metrics": '[{type = "ssim"}]'},
               "l1": {"metrics": '[{type = "l1", weight = 0.5, t_range = [0.0, 0.7], warmup_images = 16}]'}},
    "schedule": {"constant": {}, "cosine": {"optimizer.schedule": '"cosine"', "optimizer.warmup_images": "10"}},
    "stop": {"SIGTERM": {}, "SIGKILL": {}},
    "resume": {"plain": {}, "batch": {}, "rate": {}, "longer": {}},
}
RESUME = {"batch": "train.batch_size=2", "rate": "optimizer.learning_rate=5e-4", "longer": "train.total_images=32"}
FINAL = re.compile(r"/checkpoints/\d{12}$")
DANGEROUS = {"head", "precision", "checkpointing", "dropout", "accumulate", "init"}


def is_allowed(row):
    return ((row["guidance"] == "off" or row["labels"] == "dropped")
            and (row["init"] != "frozen" or row["head"] == "cascade"))


def run(bench, is_long):
    levels = {name: list(values) for name, values in FACTORS.items()}
    rows = covering(levels, is_allowed, bench.options.seed, None if is_long else DANGEROUS)
    print(f"pairwise: {len(rows)} rows cover every two levels of {len(FACTORS) if is_long else len(DANGEROUS)} factors")
    bench.each("pairwise", range(len(rows)), lambda trial: compare(bench, trial, rows[trial.number]))


def experiment(row, **changed):
    keys = dict(BASE)
    for name, level in row.items():
        keys |= FACTORS[name][level]
    keys |= {name.replace("__", "."): value for name, value in changed.items()}
    text = "".join(f"{key} = {value}\n" for key, value in keys.items() if value)
    return (text.replace("DROPOUT", "0.2" if row["dropout"] == "some" else "0.0")
            .replace("CHECKPOINT", "true" if row["checkpointing"] == "on" else "false"))


class Row:
    """One combination: its folders, the runs in them."""

    def __init__(self, bench, trial, row):
        self.bench, self.trial, self.row = bench, trial, row
        trial.folder.mkdir(parents=True)
        trial.note(" ".join(f"{name}={level}" for name, level in row.items()))

    def folder(self, name, row=None, **changed):
        """A new folder with the experiment."""
        folder = self.trial.folder / name
        folder.mkdir()
        base = str(self.base()) if self.row["init"] != "none" else ""
        (folder / "x.toml").write_text(experiment(row or self.row, **changed).replace("BASE", base))
        return folder

    def base(self):
        base = self.trial.folder / "base/runs/base"
        if not base.exists():
            folder = self.trial.folder / "base"
            folder.mkdir(exist_ok=True)
            plain = dict(self.row, init="none", averages="one", resume="plain")
            (folder / "x.toml").write_text(experiment(plain, run__name='"base"', train__total_images="8"))
            self.casdm(folder, "train", "x.toml")
        return base

    def casdm(self, folder, *arguments, plan="", allowed=(0,)):
        outcome = self.bench.program.run(list(arguments), folder, plan)
        if outcome.status not in allowed:
            check_end(outcome, set(allowed), f"{arguments[0]}{' --resume' if '--resume' in arguments else ''}")
        return outcome

    def stopped(self, folder, *arguments, checkpoint, in_log=False):
        """Trains until a checkpoint (0: the first of this call) or, in_log, until the log is written, which is amid
        two checkpoints, and is stopped there in the row's way."""
        report = self.trial.folder / f"calls-{folder.name}"
        probe = self.trial.folder / f"probe-{folder.name}"
        copy(folder, probe)
        self.casdm(probe, *arguments, plan=f"under={probe} report={report}")
        calls = [line.split(" ", 2) for line in report.read_text().splitlines()]
        shutil.rmtree(probe)
        if self.row["stop"] == "SIGTERM":
            wanted = "metrics.jsonl" if in_log else "/checkpoints/"
            at = next(number for number, _, path in calls if wanted in path)
            self.casdm(folder, *arguments, plan=f"under={folder} at={at} kill=before signal=15")
        else:
            finals = [number for number, call, path in calls if call == "rename" and FINAL.search(path)]
            self.casdm(folder, *arguments, plan=f"under={folder} at={finals[checkpoint]} kill=after", allowed=(-9,))


def compare(bench, trial, row):
    it = Row(bench, trial, row)
    losses = []
    for check in (resumed_is_uninterrupted, changes_at_resume_hold, checkpointing_changes_nothing,
                  parts_change_rounding_alone, frozen_stays):
        try:
            check(it)
        except Loss as loss:
            losses.append(loss)
            trial.note(f"{check.__name__}: {loss}")
    if losses:
        raise losses[0]
    return "equal"


def require_equal(expected, actual, what, ignored=()):
    found = difference(expected, actual, ignored)
    if found:
        raise Loss(what, found)


def whole(it):
    """The uninterrupted run, trained once."""
    folder = it.trial.folder / "whole"
    if not folder.exists():
        it.casdm(it.folder("whole"), "train", "x.toml")
    return folder


def sample(it, folder):
    weights = {"several": "slow", "power": "p10"}.get(it.row["averages"], "ema")
    it.casdm(folder, "sample", "runs/t", "--num", "3", "--batch", "2", "--weights", weights, "--out", "o")
    return folder / "o"


def resumed_is_uninterrupted(it):
    folder = it.folder("parts")
    it.stopped(folder, "train", "x.toml", checkpoint=1, in_log=True)
    it.casdm(folder, "train", "--resume", "runs/t")
    require_equal(whole(it) / "runs/t", folder / "runs/t", "resumed differs from uninterrupted")
    require_equal(sample(it, whole(it)), sample(it, folder), "samples of the resumed run differ")


def changes_at_resume_hold(it):
    """What --set changes at one resume is kept at the next, which is bitwise the same as without a second stop."""
    if it.row["resume"] == "plain":
        return
    once = it.folder("once")
    it.stopped(once, "train", "x.toml", checkpoint=0, in_log=True)
    twice = it.trial.folder / "twice"
    copy(once, twice)
    again = ["train", "--resume", "runs/t", "--set", RESUME[it.row["resume"]]]
    it.casdm(once, *again)
    it.stopped(twice, *again, checkpoint=0)
    it.casdm(twice, "train", "--resume", "runs/t")
    require_equal(once / "runs/t", twice / "runs/t", f"--set {RESUME[it.row['resume']]} is forgotten")


def checkpointing_changes_nothing(it):
    other = dict(it.row, checkpointing="off" if it.row["checkpointing"] == "on" else "on")
    folder = it.folder("other", other)
    it.casdm(folder, "train", "x.toml")
    with_it, without = whole(it) / "runs/t", folder / "runs/t"
    what = f"checkpointing changes {it.row['precision']}"
    snapshots = [path.relative_to(without) for path in without.glob("ema/*.safetensors")]  # they record the networks
    written = [path.relative_to(without) for path in without.rglob("*")
               if path.name in {"state.json", "state.json.sha256", "config.toml"}]
    require_equal(with_it, without, what, written + snapshots)
    for path in snapshots:
        if tensors_in(with_it / path) != tensors_in(without / path):
            raise Loss(what, f"{path} differs")


def numbers(value):
    """All numbers in a record, in order."""
    if isinstance(value, dict):
        return [number for member in value.values() for number in numbers(member)]
    if isinstance(value, list):
        return [number for member in value for number in numbers(member)]
    return [value] if isinstance(value, (int, float)) else []


def parts_change_rounding_alone(it):
    """Rounding in bf16 is coarse, and accumulates in later records."""
    if it.row["precision"] != "fp32":
        return
    other = dict(it.row, accumulate="1" if it.row["accumulate"] == "2" else "2")
    folder = it.folder("accumulated", other)
    it.casdm(folder, "train", "x.toml")
    left, right = (numbers(log_lines(path / "runs/t/metrics.jsonl")[0]) for path in (whole(it), folder))
    if len(left) != len(right) or any(abs(a - b) > 1e-3 * max(abs(a), abs(b), 1e-2) for a, b in zip(left, right)):
        raise Loss("accumulation changes more than rounding", f"{left} and {right}")


def tensors(path, prefix):
    """{name: bytes} of the tensors in a safetensors file whose names begin with the prefix."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + size])
    return {name: content[8 + size + entry["data_offsets"][0]:8 + size + entry["data_offsets"][1]]
            for name, entry in header.items() if name.startswith(prefix)}


def frozen_stays(it):
    """theta of a frozen start equals the average it was taken from; any other has changed."""
    if it.row["init"] == "none":
        return
    start = tensors(sorted((it.base() / "checkpoints").iterdir())[-1] / "ema.safetensors", "theta.")
    end = tensors(sorted((whole(it) / "runs/t/checkpoints").iterdir())[-1] / "weights.safetensors", "theta.")
    if (start == end) != (it.row["init"] == "frozen"):
        raise Loss("a frozen module moved" if it.row["init"] == "frozen" else "a module that is not frozen stood still")

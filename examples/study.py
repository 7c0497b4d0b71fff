#!/usr/bin/env python3
"""The study in docs/study.md from its images to its tables, in the folder runs/ of this tree.

If stopped, it continues when started again. Its measurements for the predictions are in runs/study/predictions.md.
"""

import argparse
import csv
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "runs" / "study-data"
STUDY = ROOT / "runs" / "study"
PROBES = ROOT / "runs" / "study-probes"
CASDM_ARMS = ["casdm", "casdm_st_lpips", "casdm_ssim", "casdm_l1"]
PRIMARY = "efficientnet_lite0.kernel_distance"
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}  # t(0.975, n - 1)


def split_images():
    """Holds out every tenth image, in the order of names."""
    DATA.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(ROOT / "examples" / "data" / "emoji32.zip") as images:
        names = sorted(name for name in images.namelist() if name.endswith(".png"))
        for part, chosen in ("held_out", names[::10]), ("train", [n for i, n in enumerate(names) if i % 10]):
            with zipfile.ZipFile(DATA / f"{part}.zip.part", "w") as archive:
                for name in chosen:
                    archive.writestr(zipfile.ZipInfo(name), images.read(name))
            os.replace(DATA / f"{part}.zip.part", DATA / f"{part}.zip")


def last_line(run):
    """The last line of a run's log that has losses."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if "loss" in line][-1]


def probe(casdm, name, run, images, batch, modules, piece):
    """The log's last line of a training named `name` that starts with the average weights of `run`."""
    if not any((PROBES / name).glob("checkpoints/*[0-9]")):
        shutil.rmtree(PROBES / name, ignore_errors=True)
        frozen = "freeze = true" if batch < images else ""  # one step with gradients, or several without
        inits = "".join(f'[[init]]\nmodule = "{module}"\nfrom = "{run}"\n{frozen}\n' for module in modules)
        experiment = PROBES / f"{name}.toml"
        experiment.write_text(
            f'include = ["{run}/config.toml"]\n{inits}{piece}\n'
            f'[run]\nname = "{name}"\ndirectory = "{PROBES}"\nseed = 0\n'
            f"[train]\ntotal_images = {images}\nbatch_size = {batch}\n[optimizer]\nwarmup_images = 0\n"
            f"[checkpoint]\nevery_images = {images}\n"
            f"[log]\nevery_images = {images}\ngrad_norms_every_images = {images}\nsample_count = 0\n"
            "sample_every_images = 0\n",
            encoding="utf-8",
        )
        done = subprocess.run([casdm, "train", str(experiment)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"study: {name}: {done.stderr}")
    return last_line(PROBES / name)


def tensors(file, module):
    """{name: bytes} of a module's tensors in a safetensors file."""
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    return {
        name: (spec["dtype"], spec["shape"], content[start + spec["data_offsets"][0] : start + spec["data_offsets"][1]])
        for name, spec in header.items()
        if name.startswith(module + ".")
    }


def interval(values):
    """Mean over seeds and half-width of the 95 % interval."""
    if len(values) < 2:
        return statistics.mean(values), math.inf
    return statistics.mean(values), STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values))


def shown(values):
    mean, half = interval(values)
    return f"{mean:.4g} [{mean - half:.4g}, {mean + half:.4g}]"


def verdict(holds):
    return "holds" if holds else "does not hold"


def same_theta(seeds):
    """P1"""
    lines = ["| arm | seeds | tensors of theta | equal to DDPM's, bit for bit |", "| --- | --- | --- | --- |"]
    all_equal = True
    for arm in CASDM_ARMS:
        count = equal = 0
        for seed in seeds:
            for file in "weights.safetensors", "ema.safetensors":
                ours, theirs = (
                    tensors(next((STUDY / f"{name}-s{seed}" / "checkpoints").glob("*[0-9]")) / file, "theta")
                    for name in (arm, "ddpm_eps")
                )
                assert theirs and ours.keys() == theirs.keys()
                count += len(theirs)
                equal += sum(ours[name] == theirs[name] for name in theirs)
        all_equal = all_equal and count == equal
        lines.append(f"| {arm} | {len(seeds)} | {count} | {equal} |")
    return all_equal, lines


def held_out_error(casdm, seeds):
    """P2"""
    piece = f'[data]\npath = "{DATA}/held_out.zip"\nrandom_flip = false\n'
    errors = {
        arm: [
            probe(casdm, f"error-{arm}-s{seed}", STUDY / f"{arm}-s{seed}", 142 * 8, 71, ["theta"], piece)["loss"]["eps"]
            for seed in seeds
        ]
        for arm in ("ddpm_eps", "ddpm_eps_st_lpips")
    }
    plain, metric = errors["ddpm_eps"], errors["ddpm_eps_st_lpips"]
    lines = ["| error of eps' | DDPM | with ST-LPIPS | difference |", "| --- | --- | --- | --- |"]

    def row(name, take):
        ours, theirs = [take(e) for e in metric], [take(e) for e in plain]
        differences = [a - b for a, b in zip(ours, theirs)]
        lines.append(f"| {name} | {shown(theirs)} | {shown(ours)} | {shown(differences)} |")
        return differences

    mean, half = interval(row("all t", lambda e: e["mean"]))
    for quarter in range(4):
        row(f"quarter {quarter + 1} of t", lambda e: e["by_t"][quarter])
    return mean - half > 0, lines


def pulls(casdm, seeds):
    """P3"""
    lines = [
        "| t/T | sqrt((1-A_t)/A_t) | DDPM: metric's norm on theta | L_eps's | ratio | Cas-DM: metric's norm on theta |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    ratios, amplitudes, leaks = [], [], 0.0
    for part in [n / 10 for n in range(1, 10)]:
        piece = f'[timesteps]\ntype = "logit_normal"\nmean = {math.log(part / (1 - part))}\nstd = 1e-3\n'
        piece += '[[metrics]]\ntype = "st_lpips"\nnet = "vgg16"\nweight = 0.1\n'
        norms = {}
        for arm, modules in ("ddpm_eps_st_lpips", ["theta"]), ("casdm_st_lpips", ["theta", "phi"]):
            norms[arm] = [
                probe(casdm, f"pull-{arm}-s{seed}-{part}", STUDY / f"{arm}-s{seed}", 128, 128, modules, piece)["loss"]
                for seed in seeds
            ]
        metric, eps = (
            [line[term]["grad_norm"]["theta"] for line in norms["ddpm_eps_st_lpips"]]
            for term in ("metric.st_lpips", "eps")
        )
        leak = max(line["metric.st_lpips"]["grad_norm"]["theta"] for line in norms["casdm_st_lpips"])
        ratio = statistics.mean(m / e for m, e in zip(metric, eps))
        amplitude = math.tan((part + 0.008) / 1.008 * math.pi / 2)  # the cosine schedule
        ratios.append(ratio)
        amplitudes.append(amplitude)
        leaks = max(leaks, leak)
        lines.append(
            f"| {part} | {amplitude:.3g} | {statistics.mean(metric):.3g} | {statistics.mean(eps):.3g} | {ratio:.3g} "
            f"| {leak:g} |"
        )
    x, y = [math.log(a) for a in amplitudes], [math.log(r) for r in ratios]
    slope = statistics.linear_regression(x, y).slope
    rises = all(a < b for a, b in zip(ratios, ratios[1:]))
    rising = "rises" if rises else "does not rise"
    lines += ["", f"Slope of the logarithms: {slope:.2f}. The ratio {rising} at every step."]
    return rises and 0.5 <= slope <= 1.5 and leaks == 0, lines


def gates(seeds):
    """P4"""
    lines, all_rise = ["| mean gate in quarter of t | 1 | 2 | 3 | 4 |", "| --- | --- | --- | --- | --- |"], True
    for arm in [*CASDM_ARMS, "dual", "dual_st_lpips"]:
        by_t = [last_line(STUDY / f"{arm}-s{seed}")["statistic"]["gate"]["by_t"] for seed in seeds]
        means = [statistics.mean(quarter) for quarter in zip(*by_t)]
        if arm in CASDM_ARMS:
            all_rise = all_rise and all(a < b for a, b in zip(means, means[1:]))
        lines.append(f"| {arm} | " + " | ".join(f"{mean:.4f}" for mean in means) + " |")
    return all_rise, lines


def helps_more(seeds):
    """P5"""
    with open(STUDY / "results.csv", encoding="utf-8", newline="") as file:
        rows = {(row["arm"], int(row["seed"])): row for row in csv.DictReader(file)}
    lines, holds = ["| score | gain of Cas-DM | gain of DDPM | difference |", "| --- | --- | --- | --- |"], False
    for score in [name for name in rows["casdm", seeds[0]] if name.startswith(("efficientnet_lite0.", "pixels."))]:
        gain = {
            arm: [float(rows[f"{arm}_st_lpips", s][score]) - float(rows[arm, s][score]) for s in seeds]
            for arm in ("casdm", "ddpm_eps")
        }
        difference = [a - b for a, b in zip(gain["casdm"], gain["ddpm_eps"])]
        lines.append(f"| {score} | {shown(gain['casdm'])} | {shown(gain['ddpm_eps'])} | {shown(difference)} |")
        if score == PRIMARY:
            mean, half = interval(difference)
            holds = mean + half < 0
    return holds, lines


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    built = ROOT / "build" / "release" / "bin" / "casdm"
    options.add_argument("--casdm", default=shutil.which("casdm") or built, help="the program")
    options.add_argument("--jobs", default="1", help="runs at a time (default: 1)")
    given = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if not (DATA / "train.zip").exists():
        split_images()
    sweep = subprocess.run([given.casdm, "sweep", "configs/study/study.toml", "--jobs", given.jobs], cwd=ROOT)
    if sweep.returncode != 0:
        return sweep.returncode
    PROBES.mkdir(exist_ok=True)
    seeds = sorted(int(run.name.rpartition("-s")[2]) for run in STUDY.glob("casdm-s*"))
    report = []
    for name, (holds, lines) in {
        "P1: theta": same_theta(seeds),
        "P2: error of the noise on held-out images": held_out_error(given.casdm, seeds),
        "P3: gradients on theta": pulls(given.casdm, seeds),
        "P4: the gate": gates(seeds),
        "P5: what the metric gains": helps_more(seeds),
    }.items():
        report += [f"### {name}: {verdict(holds)}", "", *lines, ""]
    words = ["evaluate", "runs/study/casdm-s0", "--num", "256", "--floor", "--held-out", DATA / "held_out.zip"]
    floor = subprocess.run([given.casdm, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    subprocess.run([given.casdm, "report", "runs/study"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    report += ["### Real images", "", *("    " + line for line in floor.stdout.splitlines()), ""]
    (STUDY / "predictions.md").write_text("\n".join(report), encoding="utf-8")
    print("\n".join(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

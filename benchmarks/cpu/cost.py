#!/usr/bin/env python3
"""Compares what `casdm config check --cost` says with real trainings, and draws how cost grows.

    cost.py validate --casdm PROGRAM [--threads 2] [--seconds 15] [--set KEY=VALUE]... CONFIG...
    cost.py curves --casdm PROGRAM --out DIR [--threads 2] [--set KEY=VALUE]... CONFIG

validate trains each experiment for some seconds, and prints a table of both: seconds of a step (the median over the
log's intervals after the first two) and peak memory of the process. curves measures the experiment with other batches,
channels, resolutions, metrics and threads, and samplings of 64 images with other numbers of steps, and writes
DIR/cost.json and DIR/cost.png. Real-time priority is used if it is allowed.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# What is varied: the key, its values, the name of the axis.
CURVES = {
    "batch": ("train.batch_size={}", [8, 16, 32, 64], "images of a batch"),
    "channels": ("head.theta.channels={0}\0head.phi.channels={0}", [16, 32, 48, 64, 96], "channels"),
    "resolution": ("data.image_size={}", [16, 24, 32, 48, 64], "resolution in px"),
    "threads": ("run.threads={}", [1, 2, 4, 8, 16, 32], "threads"),
    "metric": ("metrics={}", ["[]", "l1", "ssim", "st_lpips"], "metric"),
}
SAMPLES, SAMPLING_STEPS = 64, [10, 25, 50, 100]


def real_time():
    command = ["chrt", "-f", "10"]
    works = shutil.which("chrt") and subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if works else []


def settings(o, more=()):
    return [word for setting in [f"run.threads={o.threads}", *o.set, *more] for word in ("--set", setting)]


def cost(o, config, more=()):
    command = [*real_time(), o.casdm, "config", "check", config, "--cost", "--json", *settings(o, more)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"cost.py: {' '.join(more)}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def trained(o, config, expected):
    """Seconds of a step and peak bytes of a training that is stopped after some seconds."""
    batch = expected["batch_size"]
    every = batch * max(1, round(0.5 / expected["seconds"]["step"]))
    folder = Path(tempfile.mkdtemp(prefix="casdm-cost-"))
    log = folder / "run" / "metrics.jsonl"
    command = [*real_time(), o.casdm, "train", config,
               *settings(o, [f"run.directory={folder}", "run.name=run", f"log.every_images={every}", "log.sample_count=0",
                             "log.sample_every_images=0", "checkpoint.every_images=100M", "train.total_images=100M"])]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end, lines, peak = None, [], 0
        while process.poll() is None and (end is None or time.monotonic() < end):
            time.sleep(0.2)
            lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            peak = max([peak] + [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")])
            if end is None and len(lines) >= 2:
                end = time.monotonic() + max(o.seconds, 4 * every / batch * expected["seconds"]["step"])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    points = [json.loads(line) for line in lines[1:]]
    steps = [(b["seconds"] - a["seconds"]) / (b["images"] - a["images"]) * batch for a, b in zip(points, points[1:])]
    return statistics.median(steps), peak


def validate(o):
    print("| experiment | images measured | seconds of a step: estimate | training | | memory: estimate | training | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for config in o.configs:
        said = cost(o, config)
        if said is None:
            continue
        seconds, peak = trained(o, config, said)
        memory = said["memory_bytes"]["total"] - said["memory_bytes"]["images"]  # a short training keeps few images
        step, measured = said["seconds"]["step"], said["measured"]
        print(f"| {Path(config).stem} | {measured['images']} of {measured['images_of_part']} | {step:.3g} | {seconds:.3g} | "
              f"{100 * (step / seconds - 1):+.0f} % | {memory / 1e9:.3g} GB | {peak / 1e9:.3g} GB | "
              f"{100 * (memory / peak - 1):+.0f} % |", flush=True)


def varied(name, key, value):
    if name == "metric" and value != "[]":
        value = f'[{{type="{value}"}}]'
    return key.format(value).split("\0")


def sampling_curve(o):
    """Seconds and peak memory of whole samplings of a run that has taken one step."""
    folder = Path(tempfile.mkdtemp(prefix="casdm-cost-"))
    points = []
    try:
        subprocess.run([o.casdm, "train", o.configs[0], *settings(o, [
            f"run.directory={folder}", "run.name=run", "train.total_images=1", "log.sample_count=0"])],
            check=True, capture_output=True)
        for steps in SAMPLING_STEPS:
            start = time.monotonic()
            process = subprocess.Popen([*real_time(), o.casdm, "sample", folder / "run", "--num", str(SAMPLES), "--steps",
                                        str(steps), "--no-png", "--overwrite", "--out", folder / "samples"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            if status != 0:
                raise RuntimeError(f"a sampling of {steps} steps failed")
            points.append({"value": steps, "seconds": time.monotonic() - start, "bytes": usage.ru_maxrss * 1024})
            print("sampling", points[-1], flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"axis": f"sampling steps,\n{SAMPLES} images in all", "points": points}


def curves(o):
    results = {}
    for name, (key, values, axis) in CURVES.items():
        points = []
        for value in values:
            if name == "threads" and value > os.cpu_count():
                continue
            said = cost(o, o.configs[0], varied(name, key, value))
            if said is not None:
                points.append({"value": "none" if value == "[]" else value, "seconds": said["seconds"]["step"],
                               "bytes": said["memory_bytes"]["total"], "measured": said["measured"]})
                print(name, points[-1], flush=True)
        results[name] = {"axis": axis, "points": points}
    results["sampling"] = sampling_curve(o)
    out = Path(o.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "cost.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(results, out / "cost.png")


def plot(results, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in results if results[name]["points"]]
    figure, axes = plt.subplots(2, len(names), figsize=(2.3 * len(names), 4.4), squeeze=False)
    for column, name in enumerate(names):
        points = results[name]["points"]
        labels = [str(point["value"]) for point in points]
        is_number = name != "metric"
        x = [point["value"] for point in points] if is_number else range(len(points))
        for row, (key, unit) in enumerate((("seconds", "seconds"), ("bytes", "memory in GB"))):
            ax = axes[row][column]
            y = [point[key] / (1e9 if key == "bytes" else 1) for point in points]
            if is_number:
                ax.plot(x, y, color="#3b6ea5", marker="o", markersize=3)
                ax.set_xticks(x, labels, fontsize=7)
            else:
                ax.bar(x, y, color="#3b6ea5")
                ax.set_xticks(list(x), labels, fontsize=7, rotation=60)
            ax.set_ylim(0, 1.08 * max(y))
            ax.tick_params(axis="y", labelsize=7)
            if column == 0:
                ax.set_ylabel(unit, fontsize=8)
            if row == 1:
                ax.set_xlabel(results[name]["axis"], fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=("validate", "curves"))
    parser.add_argument("configs", nargs="+", metavar="CONFIG")
    parser.add_argument("--casdm", required=True)
    parser.add_argument("--out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    o = parser.parse_args()
    if o.task == "curves" and (o.out is None or len(o.configs) != 1):
        parser.error("curves needs --out and one CONFIG")
    {"validate": validate, "curves": curves}[o.task](o)


if __name__ == "__main__":
    main()

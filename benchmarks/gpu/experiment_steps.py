#!/usr/bin/env python3
"""Trains some steps of experiments with their own networks, on drawn shapes, and prints what a step took.

    experiment_steps.py CASDM OUT FILE... [--device cuda] [--batch 8] [--steps 20]

Exit status 1: one has failed, or its losses are not finite. An experiment whose weights are not there is named.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys

import rate


def settings(casdm, config, o):
    shown = subprocess.run([casdm, "config", "show", config, "--json"], capture_output=True, text=True, check=True)
    experiment = json.loads(shown.stdout)
    data = experiment["data"]
    shapes = {"type": '"shapes"', "image_size": data["image_size"]}
    if data.get("use_labels"):
        shapes |= {"use_labels": "true", "label_dropout": data["label_dropout"]}
    result = {
        "data": "{" + ", ".join(f"{key}={value}" for key, value in shapes.items()) + "}",
        "run.name": pathlib.Path(config).stem, "run.directory": o.out, "run.device": o.device,
        "train.batch_size": o.batch, "train.accumulate": 1, "train.total_images": o.batch * o.steps,
        "log.every_images": o.batch, "log.sample_count": 0, "log.sample_every_images": 0,
        "checkpoint.every_images": o.batch * o.steps,
    }
    if "decay_images" in experiment["optimizer"]:
        result["optimizer.decay_images"] = 0
    if "evaluate" in experiment:
        result["evaluate.every_images"] = 0
    return [word for key, value in result.items() for word in ("--set", f"{key}={value}")]


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [[term["mean"] for term in line["loss"].values()] for line in lines if "loss" in line]


def trained(casdm, config, o):
    """What a step took; raises RuntimeError, or OSError for weights that are not there."""
    command = [casdm, "train", config, "--overwrite", *settings(casdm, config, o)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0 and "convert_weights.py" in done.stderr:
        raise OSError("its weights are not there")
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-800:])
    run = pathlib.Path(o.out) / pathlib.Path(config).stem
    terms = losses(run)
    if len(terms) != o.steps or not all(math.isfinite(term) for step in terms for term in step):
        raise RuntimeError(f"losses of {len(terms)} steps: {terms}")
    return rate.of_run(run, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("casdm")
    parser.add_argument("out")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    o = parser.parse_args()
    failed = 0
    for config in o.files:
        name = pathlib.Path(config).stem
        try:
            print(f"{name:32} {trained(o.casdm, config, o)}", flush=True)
        except OSError as problem:
            print(f"{name:32} left out, no step: {problem}", flush=True)
        except (RuntimeError, subprocess.SubprocessError) as problem:
            failed += 1
            print(f"{name:32} FAILED, not a step: {problem}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

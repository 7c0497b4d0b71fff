"""The quick start by examples/processes.sh, in a short form, has the losses of one process.

usage: processes_example_test.py CASDM
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHORT = {"train.total_images": 256, "log.every_images": 64, "log.sample_count": 0, "log.sample_every_images": 0,
         "checkpoint.every_images": 256, "data.workers": 1, "run.threads": 1, "run.device": "cpu"}
TOLERANCE = 1e-4


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def trained(casdm, folder, name, launcher=()):
    """The means of the terms in each line of the log, and what the run said."""
    settings = SHORT | {"run.directory": folder, "run.name": name}
    command = [*launcher, casdm, "train", ROOT / "configs/quickstart.toml"]
    command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120,
                          env=os.environ | {"MASTER_PORT": str(free_port())})
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    means = [{term: value["mean"] for term, value in line["loss"].items()} for line in lines if "loss" in line]
    return means, done.stderr


def main(casdm):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, _ = trained(casdm, folder, "one")
        two, said = trained(casdm, folder, "two", ["bash", ROOT / "examples/processes.sh", 2])
    assert "2 processes, each with 8 of the 16 images of a batch" in said, said
    assert len(one) == 4 and len(one[0]) >= 3, one
    assert [line.keys() for line in one] == [line.keys() for line in two], two
    largest = max(abs(a[term] - b[term]) / abs(a[term]) for a, b in zip(one, two) for term in a)
    print(f"the means of the terms differ by at most {largest:.1e} of themselves")
    assert largest < TOLERANCE, f"{one}\n{two}"


if __name__ == "__main__":
    main(sys.argv[1])

#!/usr/bin/env python3
"""The study of docs/study.md from its images to its tables, in the folder runs/ of the working directory."""

import argparse
import shutil
import subprocess
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "runs"
DATA = RUNS / "study-data"


def split_images():
    """Every tenth image, in the order of names, is held out."""
    DATA.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(ROOT / "examples" / "data" / "emoji32.zip") as images:
        names = sorted(name for name in images.namelist() if name.endswith(".png"))
        for part, chosen in ("held_out", names[::10]), ("train", [n for i, n in enumerate(names) if i % 10]):
            with zipfile.ZipFile(DATA / f"{part}.zip", "w") as archive:
                for name in chosen:
                    archive.writestr(zipfile.ZipInfo(name), images.read(name))


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--casdm", default=shutil.which("casdm") or "build/release/bin/casdm", help="the program")
    options.add_argument("--jobs", default="1", help="runs at a time (default: 1)")
    given = options.parse_args()
    if not (DATA / "train.zip").exists():
        split_images()
    subprocess.run([given.casdm, "sweep", "configs/study/study.toml", "--jobs", given.jobs], cwd=ROOT)


if __name__ == "__main__":
    main()

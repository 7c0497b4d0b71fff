#!/usr/bin/env python3
"""From a run of casdm to its networks in Python: draws the same images with diffusers as `casdm sample` does.

    python examples/python/sample_run.py runs/quickstart --casdm build/release/bin/casdm

The networks are exported, loaded by diffusers and sampled with its DDIMScheduler, from casdm's own noise. Writes
OUT/diffusers.png, and says by how much the pixels differ; ends with 1 when one differs by more than rounding.
"""

import argparse
import pathlib
import sys

try:
    import numpy as np
    import torch
    from PIL import Image

    from casdm_run import Run, call, first_noise, to_bytes
except ImportError as error:
    print(f"{error}. pip install torch diffusers numpy pillow safetensors", file=sys.stderr)
    sys.exit(77)


def draw(run, count, steps):
    """The images of `casdm sample RUN --sampler ddim --eta 0`, uint8 [count, H, W, C]."""
    model, scheduler = run.model(), run.scheduler()
    scheduler.set_timesteps(steps)
    x = first_noise(count, run.image_shape)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(model(x, t), t, x, eta=0.0).prev_sample
    return to_bytes(x)


def draw_with_casdm(run, count, steps, out):
    call(run.casdm, "sample", run.path, "--num", count, "--out", out, "--sampler", "ddim", "--steps", steps, "--eta", 0,
         "--device", "cpu", "--overwrite")
    return np.load(out / "samples.npz")["arr_0"]


def grid(images, columns=8):
    rows = [np.concatenate(list(images[i:i + columns]), 1) for i in range(0, len(images), columns)]
    rows = [np.pad(row, ((0, 0), (0, rows[0].shape[1] - row.shape[1]), (0, 0))) for row in rows]
    return np.concatenate(rows, 0).squeeze()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a folder that `casdm train` made")
    parser.add_argument("--casdm", default="casdm", help="the program (default: the one on PATH)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("from_python"), help="folder for the images")
    parser.add_argument("--num", type=int, default=16, help="number of images")
    parser.add_argument("--steps", type=int, default=50, help="steps of DDIM, which must divide the run's timesteps")
    a = parser.parse_args()

    run = Run(a.run, a.casdm)
    theirs = draw(run, a.num, a.steps)
    ours = draw_with_casdm(run, a.num, a.steps, a.out / "casdm")
    Image.fromarray(grid(theirs)).save(a.out / "diffusers.png")
    difference = np.abs(theirs.astype(int) - ours.astype(int))
    print(f"{a.out}/diffusers.png: {a.num} images; {np.mean(difference > 0):.3%} of the numbers differ from casdm's, "
          f"by at most {difference.max()} of 255")
    # Both truncate to bytes, so a difference in the last bits can be one level.
    return 0 if difference.max() <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""From PyTorch to a run of casdm: trains theta with diffusers, and Cas-DM's second network on top of it with casdm.

    python examples/python/train_theta.py --casdm build/release/bin/casdm --out runs/from_pytorch

A UNet2DModel learns to predict the noise in emoji, in a loop of PyTorch. `casdm import` reads it; OUT/experiment.toml
takes it as theta, frozen, and trains phi with a metric. In the end the run's theta is compared with PyTorch's, bit for bit.
"""

import argparse
import io
import pathlib
import sys
import tomllib
import zipfile

try:
    import numpy as np
    import torch
    from diffusers import DDPMScheduler, UNet2DModel
    from PIL import Image

    from casdm_run import Run, call
except ImportError as error:
    print(f"{error}. pip install torch diffusers numpy pillow safetensors", file=sys.stderr)
    sys.exit(77)

EMOJI = pathlib.Path(__file__).resolve().parents[1] / "data" / "emoji32.zip"
SIZE, T = 16, 1000

EXPERIMENT = """\
# phi of Cas-DM, trained with a metric on top of a theta that PyTorch trained.
[run]
name = "run"
directory = {out!r}

[data]
type = "zip"
path = {images!r}
image_size = {size}

[noise]
type = "cosine"
num_train_timesteps = {T}

[head]
type = "cascade"

[head.theta]
{theta}
[head.phi]
type = "unet"
channels = 32
channel_mult = [1, 2, 2]
num_res_blocks = 1
attention_resolutions = []
groups = 8

[[init]]
module = "theta"
from = "theta.safetensors"
freeze = true

[[metrics]]
type = {metric!r}
weight = 0.1

[sampler]
type = "ddim"

[train]
batch_size = 16
total_images = {total}

[optimizer]
learning_rate = 1e-3
warmup_images = 400
schedule = "cosine"

[ema]
decay = 0.99
"""


def load_images(path):
    """[N, 3, SIZE, SIZE] in [-1, 1]; transparent pixels are white, as in casdm."""
    images = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".png")):
            image = Image.open(io.BytesIO(archive.read(name))).convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
            images.append(np.asarray(image.resize((SIZE, SIZE), Image.BICUBIC)))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(model, images, steps, batch=16):
    """Ho et al. 2020: the error of the noise."""
    scheduler = DDPMScheduler(num_train_timesteps=T, beta_schedule="squaredcos_cap_v2")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(1, steps + 1):
        x0 = images[torch.randint(len(images), (batch,))]
        eps, t = torch.randn_like(x0), torch.randint(T, (batch,))
        loss = (model(scheduler.add_noise(x0, eps, t), t).sample - eps).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        if step % 100 == 0 or step == steps:
            print(f"theta: step {step} of {steps}, error of the noise {loss.item():.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--casdm", default="casdm", help="the program (default: the one on PATH)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("from_pytorch"), help="folder for everything")
    parser.add_argument("--images", type=pathlib.Path, default=EMOJI, help="a zip of PNGs")
    parser.add_argument("--metric", default="st_lpips", help="metric that trains phi")
    parser.add_argument("--steps", type=int, default=500, help="steps of theta, of 16 images")
    parser.add_argument("--total-images", type=int, default=8000, help="images that phi is trained with")
    a = parser.parse_args()
    if a.out.exists():
        sys.exit(f"{a.out} is there already; give --out another folder")

    torch.manual_seed(0)
    # What casdm's U-Net can express (docs/interchange.md): cosines first, and the norm of the middle's attention.
    theta = UNet2DModel(sample_size=SIZE, layers_per_block=1, block_out_channels=(32, 64, 64),
                        down_block_types=("DownBlock2D",) * 3, up_block_types=("UpBlock2D",) * 3,
                        attention_head_dim=None, norm_num_groups=8, attn_norm_num_groups=8, downsample_padding=1,
                        resnet_time_scale_shift="scale_shift")
    train(theta, load_images(a.images), a.steps)
    theta.save_pretrained(a.out / "theta")

    said = call(a.casdm, "import", a.out / "theta", "--out", a.out / "theta.safetensors")
    options = said[said.index("type = "):said.rindex("\n\n") + 1]
    tomllib.loads(options)  # the options of [head.theta], ready to paste
    (a.out / "experiment.toml").write_text(
        EXPERIMENT.format(out=str(a.out.resolve()), images=str(a.images.resolve()), size=SIZE, T=T, theta=options,
                          metric=a.metric, total=a.total_images), encoding="utf-8")
    call(a.casdm, "train", a.out / "experiment.toml")

    run = Run(a.out / "run", a.casdm)
    back = run.network("theta").state_dict()
    changed = [name for name, tensor in theta.state_dict().items() if not torch.equal(tensor, back[name])]
    print(f"{a.out}/run: theta is PyTorch's, bit for bit" if not changed else f"theta differs in {', '.join(changed)}")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())

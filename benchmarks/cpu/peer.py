#!/usr/bin/env python3
"""The peers of the benchmarks: the networks that casdm exported, trained or sampled by diffusers and PyTorch.

    peer.py train FOLDER --head ddpm|casdm|casdm_st_lpips [--variant eager|channels-last|compiled] [--bf16]
    peer.py sample FOLDER [--variant ...] --images N --steps N
    peer.py train FOLDER --guided-diffusion CHECKOUT
    peer.py train FOLDER --device cuda --bf16 ...
    peer.py metric lpips|st_lpips|ssim|dists
    peer.py make vgg16|"JPEG, 256 px to 64"|"PNG, 64 px"|"CIFAR-10" --to PATH
    peer.py load FOLDER --dataset folder|cifar10

FOLDER holds theta/ and phi/ as `casdm export --layout diffusers` writes them: the same weights as casdm's run. Training
is as people usually write it: diffusers' UNet2DModel, AdamW(fused=True), clip_grad_norm_, averages by _foreach_lerp_.
Prints one line of JSON with the rates of some intervals, in images per second, the size of batches and, on CUDA, the peak
of the memory that tensors took.

From PyPI: benchmarks/requirements.txt.
"""

import argparse
import json
import pickle
import sys
import time
from pathlib import Path

import torch

T = 1000


def guided_diffusion(folder, o):
    """A U-Net of guided-diffusion with the sizes of the one that casdm exported."""
    sys.path.insert(0, o.guided_diffusion)
    from guided_diffusion import unet

    if o.bf16:  # its attention would be computed again, in the backward pass, outside of autocast
        unet.checkpoint = lambda function, inputs, *_: function(*inputs)
    sizes = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    channels = sizes["block_out_channels"]
    model = unet.UNetModel(
        image_size=sizes["sample_size"],
        in_channels=3,
        model_channels=channels[0],
        out_channels=3,
        num_res_blocks=sizes["layers_per_block"],
        attention_resolutions=[2**i for i, kind in enumerate(sizes["down_block_types"]) if kind.startswith("Attn")],
        channel_mult=[c // channels[0] for c in channels],
        dropout=o.dropout,
        use_new_attention_order=True,
    ).to(o.device)
    return model, model


def network(folder, o):
    from diffusers import UNet2DModel

    model = UNet2DModel.from_pretrained(folder, dropout=o.dropout).to(o.device)
    if o.variant == "channels-last":
        model = model.to(memory_format=torch.channels_last)
    call = torch.compile(model) if o.variant == "compiled" else model
    return model, lambda x, t: call(x, t, return_dict=False)[0]


def now(device="cpu"):
    """The time at which the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def intervals(step, images, seconds, warm_up, device="cpu"):
    """Images per second of intervals of about a sixth of `seconds` each."""
    end = time.perf_counter() + warm_up
    steps = 0
    while steps < 3 or now(device) < end:
        step()
        steps += 1
    rates = []
    end = time.perf_counter() + seconds
    while len(rates) < 3 or time.perf_counter() < end:
        start, steps = now(device), 0
        while steps == 0 or time.perf_counter() - start < seconds / 6:
            step()
            steps += 1
        rates.append(images * steps / (now(device) - start))
    return rates


def training_step(o):
    folder = Path(o.what)
    names = ["theta"] if o.head == "ddpm" else ["theta", "phi"]
    if o.guided_diffusion:
        loaded = [guided_diffusion(folder / "theta", o)]
    else:
        loaded = [network(folder / name, o) for name in names]
    models, calls = [m.train() for m, _ in loaded], [c for _, c in loaded]
    averages = [[p.detach().clone() for p in m.parameters()] for m in models]
    optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-4, weight_decay=0, fused=True) for m in models]
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, T, dtype=torch.float64, device=o.device), 0)
    size = json.loads((folder / "theta" / "config.json").read_text(encoding="utf-8"))["sample_size"]
    images = torch.rand(o.batch, 3, size, size, device=o.device) * 2 - 1
    metric = None
    if o.head == "casdm_st_lpips":
        from stlpips_pytorch import stlpips

        metric = stlpips.LPIPS(net="vgg", variant="shift_tolerant").eval().requires_grad_(False).to(o.device)
    if o.variant == "channels-last":
        images = images.to(memory_format=torch.channels_last)

    def step():
        t = torch.randint(0, T, (o.batch,), device=o.device)
        a = kept[t].sqrt().float()[:, None, None, None]
        s = (1 - kept[t]).sqrt().float()[:, None, None, None]
        eps = torch.randn_like(images)
        noisy = a * images + s * eps
        with torch.autocast(o.device, torch.bfloat16, enabled=o.bf16):
            predicted = calls[0](noisy, t).float()
            loss = (predicted - eps).square().mean()
            if len(models) == 2:
                clean = ((noisy - s * predicted.detach()) / a).clamp(-1, 1)
                out = calls[1](clean, t).float()
                gate = torch.sigmoid(out[:, 3:])
                mixed = gate * out[:, :3].detach() + (1 - gate) * clean
                loss = loss + (out[:, :3] - images).square().mean() + (mixed - images).square().mean()
                if metric is not None:
                    loss = loss + 0.1 * metric(images, out[:, :3]).mean()
        loss.backward()
        for model, optimizer, average in zip(models, optimizers, averages):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            torch._foreach_lerp_(average, list(model.parameters()), 1e-4)

    return step


def train(o):
    # Compilation takes minutes and is not counted.
    return intervals(training_step(o), o.batch, o.seconds, warm_up=o.seconds / 4, device=o.device)


def sample(o):
    from diffusers import DDIMScheduler

    model, call = network(Path(o.what) / "theta", o)
    scheduler = DDIMScheduler(T, beta_schedule="linear", clip_sample=True)
    scheduler.set_timesteps(o.steps)
    size = model.config.sample_size

    def drawn(timesteps):
        x = torch.randn(o.images, 3, size, size)
        if o.variant == "channels-last":
            x = x.to(memory_format=torch.channels_last)
        for t in timesteps:
            x = scheduler.step(call(x, t), t, x).prev_sample

    rates = []
    with torch.inference_mode():
        drawn(scheduler.timesteps[:3])
        end = time.perf_counter() + o.seconds
        while not rates or time.perf_counter() < end:
            start = time.perf_counter()
            drawn(scheduler.timesteps)
            rates.append(o.images / (time.perf_counter() - start))
    return rates


def metric(o):
    import piq

    if o.what == "st_lpips":
        from stlpips_pytorch import stlpips

        distance = stlpips.LPIPS(net="vgg", variant="shift_tolerant").eval()
    elif o.what == "lpips":
        import lpips

        distance = lpips.LPIPS(net="vgg", pretrained=True, pnet_rand=True, verbose=False).eval()
    elif o.what == "dists":
        from torchvision.models import vgg16

        piq.perceptual.vgg16 = lambda **_: vgg16()  # random, instead of a download
        torch.hub.load_state_dict_from_url = lambda *_, **__: {k: torch.rand(1, 1475, 1, 1) for k in ("alpha", "beta")}
        distance = piq.DISTS(reduction="none")
    elif o.what == "ssim":
        distance = lambda a, b: piq.ssim((a + 1) / 2, (b + 1) / 2, downsample=False)  # noqa: E731
    else:
        raise SystemExit(f"peer.py: no metric {o.what}")
    if isinstance(distance, torch.nn.Module):
        distance.requires_grad_(False)
    a = torch.rand(o.batch, 3, o.size, o.size) * 2 - 1
    b = (torch.rand(o.batch, 3, o.size, o.size) * 2 - 1).requires_grad_()

    def step():
        b.grad = None
        distance(a, b).mean().backward()

    return intervals(step, o.batch, o.seconds, warm_up=o.seconds / 4)


def smooth_images(count, size):
    """uint8 [count, size, size, 3]: large and small shapes of random colours with some noise."""
    import numpy as np

    image = torch.zeros(count, 3, size, size)
    for cells in (4, 16, 64):
        coarse = torch.rand(count, 3, min(cells, size), min(cells, size))
        image += torch.nn.functional.interpolate(coarse, size=size, mode="bicubic") / 2
    image = (image / 1.5 + 0.02 * torch.randn_like(image)).clamp(0, 1)
    return np.ascontiguousarray((255 * image).byte().permute(0, 2, 3, 1).numpy())


def make(o):
    import numpy as np
    from PIL import Image
    from torchvision.models import vgg16

    if o.what == "vgg16":
        torch.save(vgg16().state_dict(), o.to)
        return []
    folder = Path(o.to)
    if o.what == "CIFAR-10":
        folder = folder / "cifar-10-batches-py"
        folder.mkdir(parents=True)
        for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
            images = smooth_images(10000, 32)
            batch = {"data": np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(10000, -1),
                     "labels": [i % 10 for i in range(10000)]}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        return []
    ending, count, size = ("jpg", 1024, 256) if o.what.startswith("JPEG") else ("png", 8192, 64)
    for i, image in enumerate(smooth_images(count, size)):
        path = folder / str(i % 4) / f"{i:05}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=90)
    return []


def load(o):
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import CIFAR10, ImageFolder

    scaled = [transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
    if o.dataset == "cifar10":
        CIFAR10._check_integrity = lambda self: True  # images of our own
        CIFAR10._load_meta = lambda self: None
        images = CIFAR10(o.what, transform=transforms.Compose(scaled))
    else:
        cut = [transforms.Resize(o.size), transforms.CenterCrop(o.size)]
        images = ImageFolder(o.what, transforms.Compose(cut + scaled))
    loader = DataLoader(images, o.batch, shuffle=True, num_workers=o.threads, drop_last=True, persistent_workers=True)
    rates = []
    end = time.perf_counter() + o.seconds
    while len(rates) < 3 or time.perf_counter() < end:
        start, count = time.perf_counter(), 0
        for batch, _ in loader:
            count += len(batch)
        rates.append(count / (time.perf_counter() - start))
    return rates[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=("train", "sample", "metric", "make", "load"))
    parser.add_argument("what")
    parser.add_argument("--head", default="ddpm", choices=("ddpm", "casdm", "casdm_st_lpips"))
    parser.add_argument("--variant", default="eager", choices=("eager", "channels-last", "compiled"))
    parser.add_argument("--guided-diffusion")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="of a training")
    parser.add_argument("--dropout", type=float, default=0, help="of the networks, which exported files do not say")
    parser.add_argument("--dataset", default="folder", choices=("folder", "cifar10"))
    parser.add_argument("--to")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(o.threads)
    tasks = {"train": train, "sample": sample, "metric": metric, "make": make, "load": load}
    result = {"rates": tasks[o.task](o), "batch": o.batch}
    if o.device == "cuda":
        result["device_memory"] = torch.cuda.max_memory_allocated()
    print(json.dumps(result))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Images per second of the CIFAR-10 network of configs/base/cifar10.toml in plain PyTorch, for comparison.

    peer.py [--heads 1|2] [--precision fp32|tf32|bf16] [--channels-last] [--compile] [--batch 128] [--steps 40]

The network (35.7 million parameters), loss, AdamW, gradient norm and averages are those of
configs/cifar10_ddpm_eps.toml; with --heads 2 a second network refines the clean image, as in
configs/cifar10_casdm.toml. It is written as such a training loop usually is, with torch.nn modules and autocast.
Images are random numbers that are already on the GPU.
"""

import argparse
import math
import time

import torch
from torch import nn
from torch.nn import functional as F

CHANNELS, MULTIPLIERS, BLOCKS, ATTENTION, DROPOUT, T = 128, (1, 2, 2, 2), 2, 16, 0.1, 1000


class ResBlock(nn.Module):
    def __init__(self, inputs, outputs, embedding):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(32, inputs), nn.GroupNorm(32, outputs)
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.embedding = nn.Linear(embedding, outputs)
        self.dropout = nn.Dropout(DROPOUT)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, embedding):
        h = self.conv1(F.silu(self.norm1(x))) + self.embedding(embedding)[:, :, None, None]
        return self.skip(x) + self.conv2(self.dropout(F.silu(self.norm2(h))))


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(32, channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x, embedding):
        b, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, 3, 1, c, h * w).transpose(3, 4).unbind(1)
        attended = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(attended.transpose(2, 3).reshape(b, c, h, w))


class Down(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x, embedding):
        return self.conv(x)


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, embedding):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class UNet(nn.Module):
    def __init__(self, outputs=3, size=32):
        super().__init__()
        e = 4 * CHANNELS
        self.time = nn.Sequential(nn.Linear(CHANNELS, e), nn.SiLU(), nn.Linear(e, e), nn.SiLU())
        self.first = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.down, self.up, widths, c = nn.ModuleList(), nn.ModuleList(), [CHANNELS], CHANNELS
        for level, m in enumerate(MULTIPLIERS):
            for _ in range(BLOCKS):
                self.down.append(self.stage(c, m * CHANNELS, e, size))
                widths.append(c := m * CHANNELS)
            if level + 1 < len(MULTIPLIERS):
                self.down.append(nn.ModuleList([Down(c)]))
                widths.append(c)
                size //= 2
        self.middle = nn.ModuleList([ResBlock(c, c, e), Attention(c), ResBlock(c, c, e)])
        for level, m in reversed(list(enumerate(MULTIPLIERS))):
            for block in range(BLOCKS + 1):
                stage = self.stage(c + widths.pop(), m * CHANNELS, e, size)
                c = m * CHANNELS
                if level and block == BLOCKS:
                    stage.append(Up(c))
                    size *= 2
                self.up.append(stage)
        self.last = nn.Sequential(nn.GroupNorm(32, c), nn.SiLU(), nn.Conv2d(c, outputs, 3, padding=1))

    @staticmethod
    def stage(inputs, outputs, embedding, size):
        return nn.ModuleList([ResBlock(inputs, outputs, embedding)] + [Attention(outputs)] * (size == ATTENTION))

    def forward(self, x, t):
        half = CHANNELS // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, device=x.device) / half)
        angles = t[:, None].float() * frequencies
        embedding = self.time(torch.cat([angles.cos(), angles.sin()], 1))
        skips = [h := self.first(x)]
        for stage in self.down:
            for layer in stage:
                h = layer(h, embedding)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, embedding)
        for stage in self.up:
            h = torch.cat([h, skips.pop()], 1)
            for layer in stage:
                h = layer(h, embedding)
        return self.last(h)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=1, choices=(1, 2))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "tf32", "bf16"))
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=10)
    o = parser.parse_args()
    is_tf32 = o.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = is_tf32
    torch.manual_seed(0)
    networks = [UNet(3 + i).cuda() for i in range(o.heads)]
    if o.channels_last:
        networks = [n.to(memory_format=torch.channels_last) for n in networks]
    averages = [[p.detach().clone() for p in n.parameters()] for n in networks]
    optimizers = [torch.optim.AdamW(n.parameters(), lr=2e-4, weight_decay=0, fused=True) for n in networks]
    run = [torch.compile(n) if o.compile else n for n in networks]
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, T, device="cuda", dtype=torch.float64), 0)
    images = torch.rand(o.batch, 3, 32, 32, device="cuda") * 2 - 1
    if o.channels_last:
        images = images.to(memory_format=torch.channels_last)

    def step():
        t = torch.randint(0, T, (o.batch,), device="cuda")
        a = kept[t].sqrt().float()[:, None, None, None]
        s = (1 - kept[t]).sqrt().float()[:, None, None, None]
        eps = torch.randn_like(images)
        noisy = a * images + s * eps
        with torch.autocast("cuda", torch.bfloat16, enabled=o.precision == "bf16"):
            predicted = run[0](noisy, t).float()
            loss = (predicted - eps).square().mean()
            if o.heads == 2:
                clean = ((noisy - s * predicted.detach()) / a).clamp(-1, 1)
                out = run[1](clean, t).float()
                gate = out[:, 3:].mean((2, 3), keepdim=True) + 0.5
                mixed = gate * out[:, :3].detach() + (1 - gate) * clean
                loss = loss + (out[:, :3] - images).square().mean() + (mixed - images).square().mean()
        loss.backward()
        for network, optimizer, average in zip(networks, optimizers, averages):
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            torch._foreach_lerp_(average, list(network.parameters()), 1e-4)
        return loss

    count = sum(p.numel() for p in networks[0].parameters())
    for _ in range(o.warmup):
        step()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(o.steps):
        loss = step()
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / o.steps
    name = " ".join(["channels-last"] * o.channels_last + ["compiled"] * o.compile) or "eager"
    print(
        f"PyTorch {torch.__version__}, {o.heads} x {count / 1e6:.1f} M, {o.precision}, {name}:"
        f" {o.batch / seconds:.0f} images/s,"
        f" {1e3 * seconds:.1f} ms a step, {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB, loss {loss.item():.3f}"
    )


if __name__ == "__main__":
    main()

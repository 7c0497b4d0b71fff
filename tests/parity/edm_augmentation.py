#!/usr/bin/env python3
"""Writes tests/parity/references/edm_augmentation.safetensors with EDM's own augmentation pipeline.

    PYTHONPATH=EDM python3 tests/parity/edm_augmentation.py OUT.safetensors

EDM is a checkout of github.com/NVlabs/edm; torch, numpy and safetensors are needed. The pipeline's random numbers are
replaced by those that the component `edm` derives from an image's seed, so both do the same to the same image.
"""
import json
import math
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from training import augment

MASK = (1 << 64) - 1
COUNT = 12
STANDARD = dict(xflip=1e8, yflip=1, scale=1, rotate_frac=1, aniso=1, translate_frac=1)
CASES = {
    "standard": (3, dict(p=0.12, **STANDARD)),
    "everything": (3, dict(p=0.6, rotate_int=1, translate_int=1, brightness=1, contrast=1, lumaflip=1, hue=1,
                           saturation=1, **STANDARD)),
    "colours": (3, dict(p=1, brightness=1, contrast=1, lumaflip=1, hue=1, saturation=1, hue_max=0.5)),
    "grey": (1, dict(p=1, brightness=1, contrast=1, lumaflip=1, hue=1, saturation=1)),
    "pixels": (3, dict(p=1, rotate_int=1, translate_int=1, translate_int_max=0.3)),
}


def splitmix64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def derive_seed(seed, purpose, index=0):
    name = 0xCBF29CE484222325
    for byte in purpose.encode():
        name = ((name ^ byte) * 0x100000001B3) & MASK
    return splitmix64(splitmix64(splitmix64(seed) ^ name) ^ index)


def number(seed, name, index):
    return (splitmix64(derive_seed(seed, name, index)) >> 11) * 2.0**-53


def normal(seed, name, index):
    return math.sqrt(-2 * math.log(1 - number(seed, name, index))) * math.cos(2 * math.pi * number(seed, name, index + 1))


class Numbers:
    """Replaces torch in the pipeline: random calls take the next of the prepared numbers."""

    def __init__(self, seeds, options):
        self.queue = []
        each = lambda draw, name, index: [draw(seed, name, index) for seed in seeds]
        for name in ["xflip", "yflip", "rotate_int", "translate_int", "scale", "rotate_frac", "aniso", "translate_frac",
                     "brightness", "contrast", "lumaflip", "hue", "saturation"]:
            if options.get(name, 0) <= 0:
                continue
            sides = 4 if name == "rotate_int" else 2
            if name in ["xflip", "yflip", "lumaflip"]:
                # A coin is 1 below 1/2.
                self.queue.append([1 if u < 0.5 else 0 for u in each(number, name, 1)])
            elif name == "rotate_int":
                self.queue.append([int(sides * u) for u in each(number, name, 1)])
            elif name == "translate_int":
                self.queue.append([each(number, name, 1), each(number, name, 2)])
            elif name in ["rotate_frac", "hue"]:
                self.queue.append(each(number, name, 1))
            elif name == "translate_frac":
                self.queue.append([each(normal, name, 1), each(normal, name, 3)])
            else:
                self.queue.append(each(normal, name, 1))
            if name == "aniso":
                self.queue.append(each(number, name, 3))
            self.queue.append(each(number, name, 0))
            if name == "aniso":
                self.queue.append(each(number, name, 4))

    def take(self, shape, dtype):
        return torch.tensor(np.array(self.queue.pop(0)), dtype=dtype).reshape(shape)

    def rand(self, shape, device=None):
        return self.take(shape, torch.float32)

    def randn(self, shape, device=None):
        return self.take(shape, torch.float32)

    def randint(self, high, shape, device=None):
        return self.take(shape, torch.int64)

    def __getattr__(self, name):
        return getattr(torch, name)


def fill(s, shape):
    values = [splitmix64(((s << 32) + i) & MASK) >> 40 for i in range(int(np.prod(shape)))]
    return torch.tensor(np.array(values, dtype=np.float32) * np.float32(2.0**-24) * 2 - 1).reshape(shape)


def main():
    tensors, metadata = {}, {"peer": "NVlabs/edm training/augment.py", "torch": torch.__version__}
    for case, (channels, options) in CASES.items():
        seeds = [derive_seed(7, case, i) for i in range(COUNT)]
        images = fill(11, [COUNT, channels, 16, 16])
        augment.torch = Numbers(seeds, options)
        out, labels = augment.AugmentPipe(**options)(images)
        assert not augment.torch.queue, "the pipeline drew fewer numbers than were prepared"
        tensors[f"{case}.images"], tensors[f"{case}.labels"] = out.contiguous(), labels.contiguous()
        metadata[case] = json.dumps({"channels": channels, "options": options})
    save_file(tensors, sys.argv[1], metadata)


if __name__ == "__main__":
    main()

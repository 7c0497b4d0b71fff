"""Writes references/dists.safetensors: DISTS of PyPI DISTS-pytorch 0.1 with a filled trunk and its own alpha and beta.

    python dists.py write          # the golden file
    python dists.py check          # compares the golden file with the installed package

Needs torch, torchvision, safetensors and DISTS-pytorch; if missing, says so and ends with status 77. The images are
those of references/metrics.safetensors.
"""

import pathlib
import sys

try:
    import DISTS_pytorch
    import torch
    import torchvision
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"DISTS is not compared: {error}. pip install torch torchvision safetensors DISTS-pytorch", file=sys.stderr)
    sys.exit(77)

REFERENCES = pathlib.Path(__file__).parent / "references"
SIZES = (32, 64)
BOUND = 1e-5


def uniform(s, count):
    """2u - 1 with u from splitmix64 of (s * 2^32 + i), float32 [count]."""
    import numpy

    with numpy.errstate(over="ignore"):
        z = numpy.arange(count, dtype=numpy.uint64) + numpy.uint64((s << 32) + 0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
    return torch.from_numpy((z >> numpy.uint64(40)).astype(numpy.float32)) * 2.0**-23 - 1


def dists():
    """The package's module; its trunk comes without weights and is filled by LPIPS's names."""
    pretrained, torchvision.models.vgg16 = torchvision.models.vgg16, lambda **_: pretrained(weights=None)
    try:
        model = DISTS_pytorch.DISTS(load_weights=False)
    finally:
        torchvision.models.vgg16 = pretrained
    trunk = {f"slice{k}.{name}": tensor for k in range(1, 6)
             for name, tensor in getattr(model, f"stage{k}").state_dict().items() if not name.endswith("filter")}
    with torch.no_grad():
        for k, name in enumerate(sorted(trunk)):
            tensor = trunk[name]
            u = uniform(k + 1, tensor.numel()).reshape(tensor.shape)
            if tensor.dim() >= 2:
                u = u * (3.0 * tensor.shape[0] / tensor.numel()) ** 0.5
            else:
                u = 0.1 * u + (1.0 if name.endswith("weight") else 0.0)
            tensor.copy_(u)
    weights = torch.load(pathlib.Path(DISTS_pytorch.__file__).parent / "weights.pt", weights_only=True)
    model.alpha.data, model.beta.data = weights["alpha"], weights["beta"]
    return model


def evaluate(model):
    images = load_file(REFERENCES / "metrics.safetensors")
    result = {"alpha": model.alpha.data, "beta": model.beta.data}
    for size in SIZES:
        prediction = images[f"b{size}"].clone().requires_grad_(True)
        value = model((images[f"a{size}"] + 1) / 2, (prediction + 1) / 2, require_grad=True)
        value.sum().backward()
        result[f"dists.{size}"] = value.detach()
        if size == min(SIZES):
            result[f"dists.gradient.{size}"] = prediction.grad
        double = model.double()
        with torch.no_grad():
            result[f"dists.double.{size}"] = double((images[f"a{size}"].double() + 1) / 2, (images[f"b{size}"].double() + 1) / 2)
        model.float()
    return {name: tensor.contiguous() for name, tensor in result.items()}


def main(verb):
    path = REFERENCES / "dists.safetensors"
    result = evaluate(dists())
    if verb == "write":
        save_file(result, path, metadata={"peer": "DISTS-pytorch 0.1"})
        return 0
    with safe_open(path, "pt") as golden:
        worst = max(((result[name] - golden.get_tensor(name)).abs().max() / golden.get_tensor(name).abs().max()).item()
                    for name in golden.keys())
    print(f"DISTS-pytorch: largest relative difference from the golden file {worst:.2e}, bound {BOUND:.0e}")
    return 0 if worst < BOUND else 1


if __name__ == "__main__":
    if sys.argv[1:] not in (["write"], ["check"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))

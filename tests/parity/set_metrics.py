#!/usr/bin/env python3
"""Scores of sets of features by common tools.

    set_metrics.py write      makes references/set_metrics.safetensors
    set_metrics.py check      computes them again and compares

From PyPI: torch-fidelity, pytorch-fid, clean-fid, torchmetrics, prdc (with scikit-learn), POT, and numpy, scipy, torch,
torchvision, safetensors. The file holds features `x` (generated) and `y` (reference), [220, 12] and [220, 12] float32, and
`logits` [200, 10]; and per score [1] in double precision:

- `frechet.{tool}` of x and y;
- `frechet_spatial.numpy`: the distance behind sFID, of 40 and 30 images with 2023 features, fill(7) and 0.5 fill(8) + 0.1,
  by the singular values of the product of the centred features instead of a root of a matrix;
- `kernel_distance.{tool}`: one subset of all 220;
- `precision_recall.{score}.{k}.{tool}`;
- `inception_score.torch-fidelity`: ten splits of 20 consecutive rows of `logits`;
- `mmd.scikit-learn.{unit|raw}`: its RBF kernel with sigma 10, the mean over all pairs, times 1000;
- `sliced_wasserstein.POT`: the 2-Wasserstein distance of the first column of x and the first 150 rows of that of y.
"""

import contextlib
import io
import sys
from importlib import metadata
import json
import pathlib

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from golden_format import uniform  # noqa: E402

PATH = pathlib.Path(__file__).parent / "references" / "set_metrics.safetensors"
BOUND = 1e-9
PEERS = ["torch-fidelity", "pytorch-fid", "clean-fid", "torchmetrics", "prdc", "POT", "scikit-learn", "scipy", "numpy"]


def fill(seed, shape):
    return 2 * uniform(seed, int(np.prod(shape))).reshape(shape).astype(np.float64) - 1


def inputs():
    """Features with correlated columns of different distributions."""
    mix = fill(3, (12, 12))
    x = fill(1, (220, 12)) @ mix + 0.2 * fill(4, (1, 12))
    y = np.tanh(1.3 * fill(2, (220, 12))) @ (mix + 0.2 * fill(5, (12, 12)))
    return {"x": x.astype(np.float32), "y": y.astype(np.float32), "logits": (4 * fill(6, (200, 10))).astype(np.float32)}


def frechet(x, y):
    from cleanfid.fid import frechet_distance
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity.metric_fid import fid_statistics_to_metric
    from torchmetrics.image.fid import _compute_fid

    statistics = [(np.mean(a, axis=0), np.cov(a, rowvar=False)) for a in (x, y)]
    (m1, s1), (m2, s2) = statistics
    yield "torch-fidelity", fid_statistics_to_metric(*({"mu": m, "sigma": s} for m, s in statistics), False)[
        "frechet_inception_distance"]
    yield "pytorch-fid", calculate_frechet_distance(m1, s1, m2, s2)
    yield "clean-fid", frechet_distance(m1, s1, m2, s2)
    yield "torchmetrics", _compute_fid(*(torch.from_numpy(a) for a in (m1, s1, m2, s2))).item()


def frechet_spatial():
    x, y = (np.float32(a).astype(np.float64) for a in (fill(7, (40, 2023)), 0.5 * fill(8, (30, 2023)) + 0.1))
    a, b = ((f - f.mean(0)) / np.sqrt(len(f) - 1) for f in (x, y))
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * cross


def kernel_distance(x, y):
    from cleanfid.fid import kernel_distance as clean
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
    from torchmetrics.image.kid import poly_mmd

    fidelity = kid_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=len(x),
                                      kid_kernel="poly", kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None,
                                      kid_kernel_poly_coef0=1, verbose=False, rng_seed=0)
    yield "torch-fidelity", fidelity[KEY_METRIC_KID_MEAN]
    yield "clean-fid", clean(x, y, num_subsets=1, max_subset_size=len(x))
    yield "torchmetrics", poly_mmd(torch.from_numpy(x), torch.from_numpy(y)).item()


def precision_recall(x, y):
    import prdc
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    for k in (3, 5):
        precision, recall = calculate_precision_recall_full(torch.from_numpy(x), torch.from_numpy(y), k)
        yield f"precision.{k}.torch-fidelity", precision
        yield f"recall.{k}.torch-fidelity", recall
        with contextlib.redirect_stdout(io.StringIO()):
            scores = prdc.compute_prdc(y, x, k)
        for name, value in scores.items():
            yield f"{name}.{k}.prdc", value


def mmd(x, y):
    from sklearn.metrics.pairwise import rbf_kernel

    for name, prepared in (("unit", lambda a: a / np.linalg.norm(a, axis=1, keepdims=True)), ("raw", lambda a: a)):
        a, b = prepared(x), prepared(y)
        kernel = [rbf_kernel(*pair, gamma=1 / 200).mean() for pair in ((a, a), (b, b), (a, b))]
        yield f"scikit-learn.{name}", 1000 * (kernel[0] + kernel[1] - 2 * kernel[2])


def evaluate():
    import ot
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    result = inputs()
    x, y = (result[name].astype(np.float64) for name in "xy")
    scores = {f"frechet.{tool}": value for tool, value in frechet(x, y)}
    scores["frechet_spatial.numpy"] = frechet_spatial()
    scores.update({f"kernel_distance.{tool}": value for tool, value in kernel_distance(x, y)})
    scores.update({f"precision_recall.{name}": value for name, value in precision_recall(x, y)})
    scores.update({f"mmd.{name}": value for name, value in mmd(x, y)})
    logits = torch.from_numpy(result["logits"])
    scores["inception_score.torch-fidelity"] = isc_features_to_metric(logits, 10, shuffle=False)[KEY_METRIC_ISC_MEAN]
    scores["sliced_wasserstein.POT"] = float(ot.wasserstein_1d(x[:, :1], y[:150, :1], p=2)[0]) ** 0.5
    result.update({name: np.array([value], np.float64) for name, value in scores.items()})
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in result.items()}


def main(verb):
    result = evaluate()
    if verb == "write":
        save_file(result, PATH, metadata={"peers": json.dumps({name: metadata.version(name) for name in PEERS})})
        return 0
    with safe_open(PATH, "pt") as golden:
        worst = max(((result[name] - golden.get_tensor(name)).abs().max() / golden.get_tensor(name).abs().max()).item()
                    for name in golden.keys())
    print(f"set metrics: largest relative difference from the golden file {worst:.2e}, bound {BOUND:.0e}")
    return 0 if worst < BOUND else 1


if __name__ == "__main__":
    if sys.argv[1:] not in (["write"], ["check"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))

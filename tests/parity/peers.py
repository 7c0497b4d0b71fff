"""The contents of each kind of golden file, computed by the peers. A function per kind takes the file's description
and the inputs stored in it ({} to make them) and returns (tensors, metadata), or a dictionary for JSON."""

import json
import sys
import types

import numpy as np

from golden_format import fill, filled_state, uniform


def _torch():
    import torch

    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(True)
    return torch


def _array(tensor):
    return tensor.detach().cpu().numpy()


def _or_made(inputs, name, make):
    return inputs[name] if name in inputs else make()


# guided-diffusion's U-Net


def adm(config, inputs):
    torch = _torch()
    from guided_diffusion.unet import UNetModel

    defaults = {"in_channels": 3, "out_channels": 3}
    arguments = {**defaults, **config}
    network = UNetModel(**arguments).eval()
    state = filled_state({name: value.shape for name, value in network.state_dict().items()})
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})

    size = arguments["image_size"]
    x = _or_made(inputs, "x", lambda: fill(9001, (2, arguments["in_channels"], size, size)))
    out_grad = _or_made(inputs, "out_grad", lambda: fill(9002, (2, arguments["out_channels"], size, size)))
    t = _or_made(inputs, "t", lambda: np.array([3, 871], np.int64))
    tensors = {"x": x, "t": t, "out_grad": out_grad}
    labels = {}
    if arguments.get("num_classes"):
        tensors["y"] = _or_made(inputs, "y", lambda: np.array([1, 4], np.int64))
        labels["y"] = torch.from_numpy(tensors["y"].copy())
    image = torch.from_numpy(x.copy()).requires_grad_(True)
    out = network(image, torch.from_numpy(t.copy()), **labels)
    (out * torch.from_numpy(out_grad.copy())).sum().backward()
    tensors["out"] = _array(out)
    tensors["x_grad"] = _array(image.grad)
    metadata = {
        "config": json.dumps(config),
        "num_parameters": str(sum(p.numel() for p in network.parameters())),
        "state_keys": json.dumps(sorted(state)),
        "grad_norms": json.dumps({name: p.grad.norm().item() for name, p in network.named_parameters()}),
    }
    return tensors, metadata


# guided-diffusion's process

TABLES = [
    "betas",
    "alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
]


def _diffusion(schedule, T, respacing, mean="EPSILON", variance="FIXED_SMALL", loss="RESCALED_MSE"):
    from guided_diffusion import gaussian_diffusion as gd
    from guided_diffusion.respace import SpacedDiffusion, space_timesteps

    return SpacedDiffusion(
        use_timesteps=space_timesteps(T, respacing or [T]),
        betas=gd.get_named_beta_schedule(schedule, T),
        model_mean_type=gd.ModelMeanType[mean],
        model_var_type=gd.ModelVarType[variance],
        loss_type=gd.LossType[loss],
    )


def tables(case, _inputs):
    """case: {"schedules": ["linear_1000"], "spacing": ["1000|ddim50"], "names": [table, ...]}"""
    from guided_diffusion.respace import space_timesteps

    result = {}
    for key in case["schedules"]:
        schedule, T = key.rsplit("_", 1)
        process = _diffusion(schedule, int(T), "")
        indices = sorted({int(i) for i in np.linspace(0, int(T) - 1, 7)})
        result[key] = {
            name: {str(i): float(getattr(process, name)[i]) for i in indices} for name in case.get("names", TABLES)
        }
    result["spacing"] = {}
    for spacing in case["spacing"]:
        T, respacing = spacing.split("|")
        result["spacing"][spacing] = sorted(space_timesteps(int(T), respacing or [int(T)]))
    return result


def _stand_in(torch, inputs, channels):
    """The network of README.md; `channels` is twice the image's if the variance is learned."""
    field = torch.from_numpy(inputs[f"input.field{channels}"].copy())

    def network(x, t):
        wave = torch.cos(t.float() / 100).reshape(-1, 1, 1, 1)
        return torch.tanh(x).repeat(1, channels // x.shape[1], 1, 1) * wave * 0.5 + 0.3 * field

    return network


def steps(cases, inputs):
    torch = _torch()
    shape = (2, 3, 8, 8)
    inputs = {
        "input.x_T": fill(7002, shape) * np.float32(1.7),
        "input.noise": fill(7003, shape),
        "input.x0": fill(7004, shape),
        "input.field3": fill(7001, (1, 3, 8, 8)),
        "input.field6": fill(7001, (1, 6, 8, 8)),
        **inputs,
    }
    tensors = dict(inputs)
    x_T, noise, x0 = (torch.from_numpy(inputs[f"input.{name}"].copy()) for name in ("x_T", "noise", "x0"))
    for case in cases:
        optional = {key: case[key] for key in ("loss",) if key in case}
        process = _diffusion(
            case["schedule"], case["T"], case["respacing"], case["mean"], case["variance"], **optional
        )
        learned = case["variance"].startswith("LEARNED")
        network = _stand_in(torch, inputs, x0.shape[1] * (2 if learned else 1))
        key = case["key"]
        with torch.no_grad():
            tensors[f"{key}.ddim"] = _array(
                process.ddim_sample_loop(network, x_T.shape, noise=x_T, clip_denoised=True, device="cpu")
            )
            p = process.p_mean_variance(network, x_T, torch.tensor(case["t_mean"]), clip_denoised=True)
            losses = process.training_losses(network, x0, torch.tensor(case["t_loss"]), noise=noise)
        for name, value in p.items():
            tensors[f"{key}.p.{name}"] = _array(value)
        for name, value in losses.items():
            tensors[f"{key}.loss.{name}"] = _array(value)
    return tensors, {"cases": json.dumps(cases)}


# lpips, stlpips-pytorch, piq


def image_pair(size, count=8):
    """Smooth coloured patterns: targets a, predictions b; pair 1 identical, b of pair 2 constant, a of pair 3 -1."""
    y, x = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size), indexing="ij")
    a = np.empty((count, 3, size, size), np.float32)
    for i in range(count):
        for c in range(3):
            u = uniform(8000 + 10 * i + c, 6)
            wave = np.sin(2 * np.pi * (6 * u[0] * x + 6 * u[1] * y + u[2])) + np.cos(2 * np.pi * (9 * u[3] * x * y + u[4]))
            a[i, c] = 0.45 * wave + 0.2 * (u[5] - 0.5)
    a = np.clip(a + 0.1 * fill(8500, a.shape), -1, 1)
    b = 0.8 * a + 0.25 * fill(8501, a.shape)
    b[0] = a[0]
    b[1] = 0.3
    a[2] = -1
    return a.astype(np.float32), b.astype(np.float32)


def _lpips(net):
    torch = _torch()
    import lpips

    network = lpips.LPIPS(net=net, version="0.1", pretrained=True, pnet_rand=True, verbose=False).eval()
    state = filled_state({name: value.shape for name, value in network.net.state_dict().items()})
    network.net.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    heads = {name: _array(v) for name, v in network.state_dict().items() if name.startswith("lin") and "lins" not in name}
    return network, sorted(state), heads


def _st_lpips(net):
    # The package imports these two but never calls them.
    sys.modules.setdefault("IPython", types.SimpleNamespace(embed=None))
    sys.modules.setdefault("torchsummary", types.SimpleNamespace(summary=None))
    from stlpips_pytorch import stlpips

    return stlpips.LPIPS(net=net, variant="shift_tolerant", verbose=False).eval()


def metrics(case, inputs):
    """case: {"sizes": [32, 64], "names": ["lpips.vgg.32", "st_lpips.alex.64", "ssim.piq.32", "ms_ssim.piq.192"]}"""
    torch = _torch()
    tensors, metadata = {}, {}
    for size in case["sizes"]:
        made = image_pair(size)
        for letter, array in zip("ab", made):
            tensors[f"{letter}{size}"] = _or_made(inputs, f"{letter}{size}", lambda array=array: array)

    def pair(size):
        return tuple(torch.from_numpy(tensors[f"{letter}{size}"].copy()) for letter in "ab")

    def unit_pair(size):
        small = size if f"a{size}" in tensors else 32 if "a32" in tensors else case["sizes"][0]
        images = [((x + 1) / 2).clamp(0, 1) for x in pair(small)]
        if small != size:
            images = [torch.nn.functional.interpolate(x, (size, size), mode="bicubic").clamp(0, 1) for x in images]
        return images

    networks = {}
    with torch.no_grad():
        for name in case["names"]:
            kind, which, size = name.split(".")
            a, b = pair(size) if kind.endswith("lpips") else unit_pair(int(size))
            if kind == "lpips":
                if which not in networks:
                    networks[which] = _lpips(which)
                network, keys, heads = networks[which]
                total, layers = network(b, a, retPerLayer=True)
                tensors[name] = _array(total).reshape(-1)
                for k, layer in enumerate(layers):
                    tensors[f"{name}.layer{k}"] = _array(layer).reshape(-1)
                tensors.update({f"lin.{which}.{key}": value for key, value in heads.items()})
                metadata[f"lpips.{which}.trunk_keys"] = json.dumps(keys)
            elif kind == "st_lpips":
                tensors[name] = _array(_st_lpips(which)(b, a)).reshape(-1)
            else:
                import piq

                function = {"ssim": piq.ssim, "ms_ssim": piq.multi_scale_ssim}[kind]
                tensors[name] = _array(function(b, a, data_range=1.0, reduction="none")).reshape(-1)
    return tensors, metadata


# diffusers

_LINEAR = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
_OPTIONS = {
    "DDIMScheduler": {"set_alpha_to_one": True, "clip_sample": False},
    "DPMSolverMultistepScheduler": {
        "algorithm_type": "dpmsolver++",
        "solver_order": 2,
        "final_sigmas_type": "zero",
        "lower_order_final": True,
    },
    "UniPCMultistepScheduler": {"final_sigmas_type": "zero"},
}
_VARIANTS = {"sde": {"algorithm_type": "sde-dpmsolver++"}, "order3": {"solver_order": 3}}


def samplers(names, inputs):
    """names: "{class}[-{variant}].{spacing}.{steps}"; stochastic ones are given the noise fill(1000 + step)."""
    torch = _torch()
    import diffusers

    x_T = _or_made(inputs, "input.x_T", lambda: fill(6001, (4, 3, 4, 4)) * np.float32(1.7))
    tensors = {"input.x_T": x_T}
    alphas_cumprod = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000, dtype=np.float64))
    for name in names:
        kind, spacing, count = name.split(".")
        kind, _, variant = kind.partition("-")
        options = {**_LINEAR, **_OPTIONS.get(kind, {}), **(_VARIANTS[variant] if variant else {})}
        scheduler = getattr(diffusers, kind)(timestep_spacing=spacing, **options)
        scheduler.set_timesteps(int(count))
        x = torch.from_numpy(x_T.copy()) * scheduler.init_noise_sigma
        with torch.no_grad():
            for i, t in enumerate(scheduler.timesteps):
                model_input = scheduler.scale_model_input(x, t)
                a = float(np.interp(float(t), np.arange(1000), alphas_cumprod))
                eps = (1 - a) ** 0.5 * (model_input - 0.3 * a**0.5) / (0.25 * a + 1 - a)
                noise = {"variance_noise": torch.from_numpy(fill(1000 + i, x_T.shape))} if variant == "sde" else {}
                x = scheduler.step(eps, t, x, **noise).prev_sample
        tensors[name] = _array(x).astype(np.float32)
        tensors[f"{name}.timesteps"] = _array(scheduler.timesteps.double())
    return tensors, {}


# PyTorch's optimisers

OPTIMIZED = {"wide": (6, 10), "tall": (9, 4), "conv": (5, 3, 3, 3), "gain": (7,), "bias": (7,)}


def optimizers(cases, inputs):
    """The weights OPTIMIZED after some steps. Muon only gets matrices: a convolution becomes the matrix [out, rest],
    and the others are AdamW's; its bfloat16 is left out, so that the formulas are compared."""
    torch = _torch()
    from unittest import mock

    tensors = {}
    for case in cases:
        weights = {}
        for k, (name, shape) in enumerate(OPTIMIZED.items()):
            weight = torch.from_numpy(fill(k + 1, shape))
            weights[name] = weight.reshape(shape[0], -1) if len(shape) > 2 else weight
        is_muon = case["class"] == "Muon"
        main = [w for w in weights.values() if w.dim() > 1 or not is_muon]
        rest = [w for w in weights.values() if w.dim() == 1 and is_muon]
        steppers = [getattr(torch.optim, case["class"])(main, lr=case["lr"], **case["options"])]
        if rest:
            steppers.append(torch.optim.AdamW(rest, lr=case["lr"], weight_decay=0.0))
        with mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
            for step in range(case["steps"]):
                for k, weight in enumerate(weights.values()):
                    gradient = fill(1000 + 10 * step + k, tuple(weight.shape))
                    weight.grad = torch.from_numpy(gradient)
                for stepper in steppers:
                    stepper.step()
        for name, weight in weights.items():
            tensors[f"{case['key']}.{name}"] = _array(weight).reshape(OPTIMIZED[name])
    return tensors, {"cases": json.dumps(cases)}

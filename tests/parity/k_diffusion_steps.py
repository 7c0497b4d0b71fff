"""Golden chains of k-diffusion's samplers, on EDM's path and on a table of betas.

    python k_diffusion_steps.py    # writes references/k_diffusion.safetensors

Per name {sampler}[-half].{path}.{steps}, half with eta = 0.5: the last sample from `input.x_T` times the first noise level of
get_sigmas_karras, and `.times`, those at which the network was evaluated: sigma on `edm`, timesteps on `linear`. The data are N(0.3, 0.25) in each pixel, so that the network is a closed form: on `edm`
the clean image at sigma, on `linear` the noise at the fractional timestep that DiscreteEpsDDPMDenoiser finds, with
alphas_cumprod linear between timesteps. The noise of step i of a stochastic sampler is fill(1000 + i).

Needs numpy, scipy, torch, torchdiffeq, torchsde, k-diffusion and safetensors; says so and ends with 77 where they are
absent. Of k-diffusion only the samplers are imported, without what its other modules need.
"""

import importlib.metadata
import importlib.util
import json
import pathlib
import sys
import types

try:
    import numpy
    import torch
    from peers import fill
    from safetensors.torch import save_file

    package = types.ModuleType("k_diffusion")
    package.__path__ = importlib.util.find_spec("k_diffusion").submodule_search_locations
    sys.modules["k_diffusion"] = package
    for name in ("torchvision", "torchvision.transforms"):  # only for images
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["torchvision.transforms"].functional = None
    from k_diffusion import external, sampling
except (ImportError, AttributeError) as error:
    print(f"k-diffusion is not compared: {error}. pip install numpy scipy torch torchdiffeq torchsde safetensors; "
          "pip install --no-deps k-diffusion", file=sys.stderr)
    sys.exit(77)

MEAN, VARIANCE = 0.3, 0.25
CASES = {
    "sample_euler": {},
    "sample_heun": {},
    "sample_dpmpp_2m": {},
    "sample_dpmpp_2m_sde": {"eta": 1.0},
    "sample_dpmpp_2m_sde-half": {"eta": 0.5},
}


def clean_image(x, alpha, sigma):
    """E[x0 | x_t] of the data."""
    return (MEAN * sigma**2 + VARIANCE * alpha * x) / (VARIANCE * alpha**2 + sigma**2)


def edm_denoiser(times):
    def clean(x, sigma):
        times.append(float(sigma[0]))
        return clean_image(x, 1, sigma.reshape(-1, 1, 1, 1))

    return clean


def linear_denoiser(times):
    alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)

    def eps(x, t):
        times.append(float(t[0]))
        low = t.floor().long().clamp(max=998)
        a = torch.lerp(alphas[low], alphas[low + 1], t - low).reshape(-1, 1, 1, 1)
        return (x - a.sqrt() * clean_image(x, a.sqrt(), (1 - a).sqrt())) / (1 - a).sqrt()

    return external.DiscreteEpsDDPMDenoiser(eps, alphas, quantize=False)


def chain(name, options, model, sigmas, x_T):
    steps = iter(range(len(sigmas)))
    noise = {}
    if "eta" in options:
        noise["noise_sampler"] = lambda *_: torch.from_numpy(fill(1000 + next(steps), tuple(x_T.shape))).double()
    return getattr(sampling, name.partition("-")[0])(model, x_T * sigmas[0], sigmas, disable=True, **options, **noise)


def main():
    x_T = torch.from_numpy(fill(6001, (4, 3, 4, 4)) * numpy.float32(1.7))
    tensors = {"input.x_T": x_T}
    for name, options in CASES.items():
        for path in ("edm", "linear"):
            for steps in (10, 25):
                times = []
                model = edm_denoiser(times) if path == "edm" else linear_denoiser(times)
                ends = (0.002, 80.0) if path == "edm" else (float(model.sigma_min), float(model.sigma_max))
                sigmas = sampling.get_sigmas_karras(steps, *ends).double()
                key = f"{name}.{path}.{steps}"
                tensors[key] = chain(name, options, model, sigmas, x_T.double()).float().contiguous()
                tensors[f"{key}.times"] = torch.tensor(times, dtype=torch.float64)
    save_file(tensors, pathlib.Path(__file__).parent / "references" / "k_diffusion.safetensors",
              metadata={"peers": json.dumps({"k-diffusion": importlib.metadata.version("k-diffusion")})})


if __name__ == "__main__":
    main()

"""Golden chains of diffusers' samplers on a rectified flow and on EDM's path.

    python diffusers_paths.py    # writes references/diffusers_paths.safetensors

Per name {class}[-{variant}].{steps}: the last sample from `input.x_T`, and `.sigmas` of the scheduler, without the last.
The data are N(0.3, 0.25) in each pixel, so that the network is a closed form: the velocity of the flow, eps - x0, or EDM's
F, which the scheduler scales itself. EDM's chains begin at 80 x_T, the path's own noise, instead of init_noise_sigma.
`-sde` is given the noise fill(1000 + step).

Needs numpy, torch, diffusers and safetensors; if they are missing, says so and ends with status 77.
"""

import pathlib
import sys

try:
    import diffusers
    import numpy
    import torch
    from peers import fill
    from safetensors.torch import save_file
except ImportError as error:
    print(f"diffusers is not compared: {error}. pip install numpy torch diffusers safetensors", file=sys.stderr)
    sys.exit(77)

MEAN, VARIANCE = 0.3, 0.25
EDM = dict(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5, rho=7.0)
CASES = {
    "FlowMatchEulerDiscreteScheduler": {},
    "FlowMatchEulerDiscreteScheduler-shift3": dict(shift=3.0),
    "FlowMatchHeunDiscreteScheduler": {},
    "EDMEulerScheduler": EDM,
    "EDMDPMSolverMultistepScheduler": dict(EDM, solver_order=2, final_sigmas_type="zero", lower_order_final=True),
    "EDMDPMSolverMultistepScheduler-sde": dict(EDM, solver_order=2, final_sigmas_type="zero", lower_order_final=True,
                                               algorithm_type="sde-dpmsolver++"),
}


def clean_image(x, alpha, sigma):
    """E[x0 | x_t] for these data."""
    return (MEAN * sigma**2 + VARIANCE * alpha * x) / (VARIANCE * alpha**2 + sigma**2)


def chain(name, options, steps, x_T):
    scheduler = getattr(diffusers, name.partition("-")[0])(**options)
    scheduler.set_timesteps(steps)
    is_flow = name.startswith("Flow")
    sigmas = scheduler.sigmas.double()
    x = x_T.clone() if is_flow else x_T * EDM["sigma_max"]
    used = []
    for i, t in enumerate(scheduler.timesteps):
        if scheduler.step_index is None:
            scheduler._init_step_index(t)
        sigma = float(sigmas[scheduler.step_index])
        used.append(sigma)
        model_input = x if is_flow else scheduler.scale_model_input(x, t)
        if is_flow:
            x0 = clean_image(x, 1 - sigma, sigma)
            output = (x - x0) / sigma
        else:
            d = EDM["sigma_data"]
            x0 = clean_image(model_input * (sigma**2 + d**2) ** 0.5, 1, sigma)
            skip = d**2 / (sigma**2 + d**2)
            output = (x0 - skip * x) * (sigma**2 + d**2) ** 0.5 / (sigma * d)
        noise = {}
        if name.endswith("-sde"):
            noise = {"noise": torch.from_numpy(fill(1000 + i, tuple(x.shape)))}
        x = scheduler.step(output, t, x, **noise).prev_sample if not noise else sde_step(scheduler, output, t, x, noise)
    return x, torch.tensor(used, dtype=torch.float64)


def sde_step(scheduler, output, t, x, noise):
    """Replaces the noise that the scheduler draws itself."""
    from unittest import mock

    module = sys.modules[type(scheduler).__module__]
    with mock.patch.object(module, "randn_tensor", lambda *a, **k: noise["noise"].to(k.get("dtype", x.dtype))):
        return scheduler.step(output, t, x).prev_sample


def main():
    x_T = torch.from_numpy(fill(6001, (4, 3, 4, 4)) * numpy.float32(1.7))
    tensors = {"input.x_T": x_T}
    with torch.no_grad():
        for name, options in CASES.items():
            for steps in (10, 25):
                x, sigmas = chain(name, options, steps, x_T)
                tensors[f"{name}.{steps}"] = x.float().contiguous()
                tensors[f"{name}.{steps}.sigmas"] = sigmas
    save_file(tensors, pathlib.Path(__file__).parent / "references" / "diffusers_paths.safetensors",
              metadata={"peers": f"{{\"diffusers\": \"{diffusers.__version__}\"}}"})


if __name__ == "__main__":
    main()

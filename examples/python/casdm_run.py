"""A trained run of casdm in PyTorch: its networks as models of diffusers, its schedule, and its noise.

Needs torch, diffusers, numpy and safetensors, and the program casdm.
"""

import math
import pathlib
import subprocess
import sys
import tempfile
import tomllib

import diffusers
import numpy as np
import torch

SCHEDULES = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}


def call(*command):
    """Runs a command and returns its standard output; ends the script if the command fails."""
    result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {result.returncode}")
    return result.stdout


def bare(name):
    """The component of "plugin/component"."""
    return name.rpartition("/")[2]


class Run:
    """A folder that `casdm train` made."""

    def __init__(self, path, casdm="casdm"):
        self.path, self.casdm = pathlib.Path(path), casdm
        self.config = tomllib.loads((self.path / "config.toml").read_text(encoding="utf-8"))
        self.head = self.config["head"]
        if self.config["data"]["use_labels"]:
            sys.exit(f"{path} is conditional: its networks also take class_labels, which this example leaves out")

    @property
    def image_shape(self):
        data = self.config["data"]
        return data["channels"], data["image_size"], data["image_size"]

    def network(self, module, weights="ema"):
        """The network `theta` or `phi` as a UNet2DModel, with its averaged weights."""
        with tempfile.TemporaryDirectory() as folder:
            call(self.casdm, "export", self.path, "--module", module, "--weights", weights, "--layout", "diffusers",
                 "--out", f"{folder}/{module}")
            # low_cpu_mem_usage=True would need the package accelerate.
            return diffusers.UNet2DModel.from_pretrained(f"{folder}/{module}", low_cpu_mem_usage=False).eval()

    def model(self):
        """x_t, t -> the clean image that the run's head expects."""
        head = bare(self.head["type"])
        if head == "cascade":
            return CasDM(self.network("theta"), self.network("phi"), self.scheduler().alphas_cumprod, self.head)
        if head == "single":
            return Single(self.network("theta"), self.scheduler().alphas_cumprod, self.head)
        sys.exit(f"this example knows the heads cascade and single, and the run has {head}")

    def scheduler(self):
        """diffusers' DDIM over the run's schedule. It is given clean images, and steps as casdm's `ddim` does."""
        noise = self.config["noise"]
        kind, T = bare(noise["type"]), noise.get("num_train_timesteps")
        if kind not in SCHEDULES or noise["rescale_zero_terminal_snr"] or (kind == "cosine" and (
                noise["offset"] != 0.008 or noise["max_beta"] != 0.999)):
            sys.exit(f"DDIMScheduler has no schedule like this one: {noise}")
        scale = 1000 / T if noise.get("scale_with_timesteps") else 1
        ends = {key: scale * noise[key] for key in ("beta_start", "beta_end") if key in noise}
        return diffusers.DDIMScheduler(num_train_timesteps=T, beta_schedule=SCHEDULES[kind], prediction_type="sample",
                                       clip_sample=False, set_alpha_to_one=True, timestep_spacing="leading", **ends)


class Single(torch.nn.Module):
    """A network that predicts the noise, the clean image or v."""

    def __init__(self, theta, alphas_cumprod, head):
        super().__init__()
        self.theta, self.alphas_cumprod, self.kind = theta, alphas_cumprod, head["prediction_type"]
        if self.kind not in ("epsilon", "sample", "v_prediction"):
            sys.exit(f"prediction_type {self.kind} needs a flow, and DDIMScheduler has none")

    def forward(self, x_t, t):
        alpha, sigma = self.alphas_cumprod[t].sqrt(), (1 - self.alphas_cumprod[t]).sqrt()
        output = self.theta(x_t, t).sample[:, :x_t.shape[1]]  # what follows is a learned variance
        if self.kind == "epsilon":
            output = (x_t - sigma * output) / alpha
        elif self.kind == "v_prediction":
            output = alpha * x_t - sigma * output
        return output.clamp(-1, 1)


class CasDM(torch.nn.Module):
    """Cas-DM: theta predicts the noise, phi the clean image from what theta implies, and a gate between the two."""

    def __init__(self, theta, phi, alphas_cumprod, head):
        super().__init__()
        self.theta, self.phi, self.alphas_cumprod, self.head = theta, phi, alphas_cumprod, head
        if head["gate_detach_trunk"]:
            sys.exit("the gate of this run is a network of its own, which diffusers has no model for")

    def forward(self, x_t, t):
        alpha, sigma = self.alphas_cumprod[t].sqrt(), (1 - self.alphas_cumprod[t]).sqrt()
        channels = x_t.shape[1]
        from_eps = (x_t - sigma * self.theta(x_t, t).sample) / alpha
        given = from_eps.clamp(-1, 1) if self.head["input_clip"] == "unit" else from_eps
        output = self.phi(torch.cat([given, x_t], 1) if self.head["sees_x_t"] else given, t).sample
        x0, gate = output[:, :channels], output[:, channels:]
        if self.head["output"] == "residual":
            x0 = given + x0
        if self.head["gate_shape"] != "spatial":
            gate = gate.mean((2, 3), keepdim=True)
        activation = self.head["gate_activation"]
        gate = gate.sigmoid() if activation == "sigmoid" else gate + 0.5
        gate = gate.clamp(0, 1) if activation == "clamp" else gate
        return gate * x0.clamp(-1, 1) + (1 - gate) * from_eps.clamp(-1, 1)


# casdm's noise: a function of the seed and the image's index alone (casdm/random.h, casdm/philox.h).

MASK = (1 << 64) - 1


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


def philox_words(seed, count):
    """Philox 4x32-10 with the counters 0, 1, ..., keyed by the seed: uint64 [count] below 2^32."""
    low = np.uint64(0xFFFFFFFF)
    c0 = np.arange((count + 3) // 4, dtype=np.uint64)
    c1 = c2 = c3 = np.zeros_like(c0)
    for turn in range(10):
        k0 = np.uint64((seed + turn * 0x9E3779B9) & 0xFFFFFFFF)
        k1 = np.uint64(((seed >> 32) + turn * 0xBB67AE85) & 0xFFFFFFFF)
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ k0, p1 & low, (p0 >> np.uint64(32)) ^ c3 ^ k1, p0 & low
    return np.stack([c0, c1, c2, c3], -1).reshape(-1)[:count]


def first_noise(count, shape, seed=0):
    """x_T of the images 0 to count-1 of `casdm sample --seed SEED`: N(0, 1), float32 [count, *shape]."""
    images = []
    for index in range(count):
        words = philox_words(derive_seed(derive_seed(seed, "sample", index), "draw"), 2 * ((math.prod(shape) + 1) // 2))
        radius = np.sqrt(-2 * np.log((words[::2] + 0.5) / 2**32))
        angle = words[1::2] * (2 * np.pi / 2**32)
        pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
        images.append(pairs.reshape(-1)[:math.prod(shape)].reshape(shape))
    return torch.from_numpy(np.stack(images).astype(np.float32))


def to_bytes(images):
    """[B, C, H, W] in [-1, 1] -> uint8 [B, H, W, C], as casdm and guided-diffusion write them."""
    return ((images + 1) * 127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()

"""Compares `casdm export` in diffusers' layouts with diffusers itself, or writes the golden files of the parity suite.

    python diffusers_models.py check FOLDER  # FOLDER/<case>/ as `interchange_test` writes it (CASDM_EXPORT_DIR=FOLDER)
    python diffusers_models.py write         # references/diffusers_{unet,dit}.safetensors, from the cases below

Needs torch, diffusers and safetensors; if they are missing, says so and ends with status 77.
"""

import json
import pathlib
import sys

try:
    import diffusers
    import torch
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"diffusers is not compared: {error}. pip install torch diffusers safetensors", file=sys.stderr)
    sys.exit(77)

BOUND = 1e-5
DIT_MODEL = diffusers.DiTTransformer2DModel
REFERENCES = pathlib.Path(__file__).parent / "references"

BASE = dict(sample_size=16, layers_per_block=1, norm_num_groups=32, attn_norm_num_groups=32, downsample_padding=1)
UNETS = {
    "plain": dict(BASE, block_out_channels=(32, 64), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                  up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=16,
                  resnet_time_scale_shift="scale_shift"),
    "added_time_one_head": dict(BASE, layers_per_block=2, block_out_channels=(32, 64),
                                down_block_types=("AttnDownBlock2D", "AttnDownBlock2D"),
                                up_block_types=("AttnUpBlock2D", "AttnUpBlock2D"), attention_head_dim=None,
                                attn_norm_num_groups=None),
    "resnet_class_six_channels": dict(BASE, block_out_channels=(32, 32, 64), out_channels=6, num_class_embeds=10,
                                      down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
                                      up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
                                      downsample_type="resnet", upsample_type="resnet", attention_head_dim=32,
                                      resnet_time_scale_shift="scale_shift"),
}

DIT = dict(sample_size=16, in_channels=3, num_layers=2, num_attention_heads=2, attention_head_dim=16)
DITS = {
    "dit_patches_of_4": dict(DIT, patch_size=4, out_channels=6, num_embeds_ada_norm=10, norm_eps=1e-6),
    "dit_patches_of_2": dict(DIT, patch_size=2, num_layers=3, num_attention_heads=3, attention_head_dim=8,
                             num_embeds_ada_norm=3),
    "dit_one_pixel": dict(DIT, sample_size=4, patch_size=1, in_channels=1, num_layers=1, num_embeds_ada_norm=0),
}


def uniform(s, count):
    """2u - 1 with u from splitmix64 of (s * 2^32 + i), float32 [count]."""
    mask = (1 << 64) - 1
    values = []
    for i in range(count):
        z = ((s << 32) + i + 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        values.append(((z ^ (z >> 31)) >> 40) * 2.0**-24)
    return 2 * torch.tensor(values, dtype=torch.float32) - 1


def fill(model):
    """The deterministic fill of the other goldens, by diffusers' own names."""
    state = model.state_dict()
    for k, name in enumerate(sorted(state)):
        tensor = state[name]
        u = uniform(k + 1, tensor.numel()).reshape(tensor.shape)
        if tensor.dim() >= 2:
            u = u * (3.0 * tensor.shape[0] / tensor.numel()) ** 0.5
        else:
            u = 0.1 * u + (1.0 if name.endswith("weight") else 0.0)
        tensor.copy_(u)


def share_embeddings(model):
    """Sets the embedding of time and class of every block of a DiT to the first's: diffusers repeats it."""
    state = model.state_dict()
    for name, tensor in state.items():
        if ".norm1.emb." in name:
            tensor.copy_(state["transformer_blocks.0" + name[name.index(".norm1.emb."):]])


def write_models(name, kind, cases, first_seed):
    tensors, described = {}, []
    for number, (key, config) in enumerate(cases.items()):
        model = kind(**config).eval()
        shape = (2, config.get("in_channels", 3), config["sample_size"], config["sample_size"])
        x = uniform(first_seed + number, torch.Size(shape).numel()).reshape(shape)
        t = torch.tensor([7.0, 823.0])
        classes = config.get("num_class_embeds") or config.get("num_embeds_ada_norm")
        labels = torch.tensor([3, min(8, classes)]) if classes else torch.zeros(2, dtype=torch.long) if kind is DIT_MODEL else None
        with torch.no_grad():
            fill(model)
            share_embeddings(model)
            if classes == 0:
                for block in model.transformer_blocks:
                    block.norm1.emb.class_embedder.embedding_table.weight.zero_()
            out = model(x, t, class_labels=labels).sample
        tensors.update({f"{key}.x": x, f"{key}.t": t, f"{key}.out": out.contiguous()})
        if labels is not None:
            tensors[f"{key}.y"] = labels
        shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
        described.append({"key": key, "config": {"_class_name": kind.__name__, **model.config}, "shapes": shapes})
    metadata = {"peer": f"diffusers {diffusers.__version__}", "cases": json.dumps(described)}
    save_file(tensors, REFERENCES / f"{name}.safetensors", metadata=metadata)


def write():
    write_models("diffusers_unet", diffusers.UNet2DModel, UNETS, 2000)
    write_models("diffusers_dit", DIT_MODEL, DITS, 2100)


def check(folder):
    worst = 0.0
    cases = sorted(path for path in pathlib.Path(folder).iterdir() if path.is_dir())
    for case in cases:
        kind = getattr(diffusers, json.loads((case / "config.json").read_text())["_class_name"])
        model, report = kind.from_pretrained(case, output_loading_info=True, low_cpu_mem_usage=False)
        wrong = {kind: names for kind, names in report.items() if names}
        given = load_file(case / "evaluation.safetensors")
        with torch.no_grad():
            out = model.eval()(given["x"], given["t"], class_labels=given.get("y")).sample
        difference = ((out - given["out"]).abs().max() / given["out"].abs().max()).item()
        print(f"{case.name}: largest relative difference {difference:.2e}" + (f", loaded with {wrong}" if wrong else ""))
        worst = max(worst, difference if not wrong else float("inf"))
    print(f"diffusers {diffusers.__version__}, {len(cases)} cases, largest {worst:.2e}, bound {BOUND:.0e}")
    return 0 if cases and worst < BOUND else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        write()
    elif len(sys.argv) == 3 and sys.argv[1] == "check":
        sys.exit(check(sys.argv[2]))
    else:
        sys.exit(__doc__)

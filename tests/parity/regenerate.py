#!/usr/bin/env python3
"""Golden outputs of public peers, computed by the installed peers.

    regenerate.py compare [DIR]                computes every golden file of DIR again, from its stored inputs, and
                                               compares (default: tests/parity/references)
    regenerate.py make --out DIR [--cases F]   writes golden files: those of the cases in the JSON file F
    regenerate.py cases                        prints the default cases, to vary

A file whose peer is not installed is named and left out; with --strict that is a failure (exit 1), as is a difference
above --bound. Peers: guided_diffusion (a checkout of openai/guided-diffusion on PYTHONPATH), and from PyPI torch, lpips
(which needs torchvision), stlpips-pytorch, piq, diffusers. README.md beside this file describes the files' contents.
"""

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# The prefix of a file's name -> the function that computes it and the modules it needs; a metric's modules depend on
# the names.
KINDS = {
    "adm_": ("adm", ["numpy", "torch", "guided_diffusion"]),
    "diffusion_tables": ("tables", ["numpy", "guided_diffusion"]),
    "diffusion_steps": ("steps", ["numpy", "torch", "guided_diffusion"]),
    "metrics": ("metrics", ["numpy", "torch"]),
    "diffusers_samplers": ("samplers", ["numpy", "torch", "diffusers"]),
    "optimizers": ("optimizers", ["numpy", "torch"]),
}
METRIC_MODULES = {"lpips": "lpips", "st_lpips": "stlpips_pytorch", "ssim": "piq", "ms_ssim": "piq"}
PACKAGES = {"guided_diffusion": "guided-diffusion", "stlpips_pytorch": "stlpips-pytorch"}

_GUIDED = [
    {
        "key": f"{mean}.{variance}.{schedule}.{respacing}",
        "mean": mean,
        "variance": variance,
        "schedule": schedule,
        "respacing": respacing,
        "T": 1000,
        "t_mean": [4, 9],
        "t_loss": [0, 6],
    }
    for mean in ("EPSILON", "START_X")
    for variance in ("FIXED_SMALL", "FIXED_LARGE", "LEARNED_RANGE")
    for schedule, respacing in (("linear", "ddim10"), ("cosine", "10"))
]
CASES = {
    "adm_plain": {
        "image_size": 16,
        "model_channels": 32,
        "out_channels": 3,
        "num_res_blocks": 1,
        "attention_resolutions": [2],
        "channel_mult": [1, 2],
        "num_heads": 4,
        "use_scale_shift_norm": True,
    },
    "diffusion_tables": {
        "schedules": ["linear_1000", "cosine_1000", "linear_100", "cosine_4000"],
        "spacing": ["1000|ddim50", "1000|50", "1000|250", "300|10,15,20", "1000|ddim25", "100|7"],
    },
    "diffusion_steps": _GUIDED,
    "metrics": {
        "sizes": [32, 64],
        "names": [
            *("lpips.vgg.32", "lpips.vgg.64", "lpips.alex.64", "lpips.squeeze.64"),
            *("st_lpips.vgg.32", "st_lpips.vgg.64", "st_lpips.alex.64"),
            *("ssim.piq.32", "ssim.piq.64", "ms_ssim.piq.192"),
        ],
    },
    "diffusers_samplers": [
        f"{kind}.{spacing}.{count}"
        for kind, spacing in (
            ("DDIMScheduler", "leading"),
            ("DDIMScheduler", "trailing"),
            ("DPMSolverMultistepScheduler", "trailing"),
            ("UniPCMultistepScheduler", "trailing"),
            ("HeunDiscreteScheduler", "linspace"),
        )
        for count in (10, 25)
    ],
    "optimizers": [
        {"key": key, "class": name, "lr": rate, "steps": 6, "options": options}
        for key, name, rate, options in (
            ("adamw", "AdamW", 1e-2, {"betas": [0.9, 0.99], "weight_decay": 0.1}),
            ("adam", "Adam", 1e-2, {"weight_decay": 0.0}),
            ("adam.decay", "Adam", 1e-2, {"betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.1}),
            ("sgd", "SGD", 1e-1, {"momentum": 0.0}),
            ("sgd.momentum", "SGD", 1e-2, {"momentum": 0.9, "dampening": 0.25, "weight_decay": 0.1}),
            ("sgd.nesterov", "SGD", 1e-2, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
            ("muon.rms", "Muon", 1e-2, {"weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}),
            ("muon.original", "Muon", 1e-2, {"weight_decay": 0.0, "adjust_lr_fn": "original"}),
            (
                "muon.plain",
                "Muon",
                1e-2,
                {"weight_decay": 0.0, "momentum": 0.8, "nesterov": False, "ns_steps": 3, "adjust_lr_fn": "original"},
            ),
        )
    ],
}


def kind_of(stem):
    for prefix, kind in KINDS.items():
        if stem.startswith(prefix):
            return kind
    return None


def modules_of(stem, case):
    function, modules = kind_of(stem)
    if function != "metrics":
        return modules
    return [*modules, *sorted({METRIC_MODULES[name.split(".")[0]] for name in case["names"]})]


def missing(modules):
    return [name for name in modules if importlib.util.find_spec(name) is None]


def version(module):
    """A peer's version; of a checkout, its commit."""
    try:
        return importlib.metadata.version(PACKAGES.get(module, module))
    except importlib.metadata.PackageNotFoundError:
        folder = Path(importlib.util.find_spec(module).origin).parent
        answer = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
        return answer.stdout.strip() or "unknown"


def compute(stem, case, inputs):
    """(tensors, metadata), or a dictionary for a JSON file."""
    import peers

    result = getattr(peers, kind_of(stem)[0])(case, inputs)
    versions = {PACKAGES.get(m, m): version(m) for m in modules_of(stem, case) if m != "numpy"}
    if isinstance(result, dict):
        return {**result, "peers": versions}
    tensors, metadata = result
    return tensors, {**metadata, "peers": json.dumps(versions)}


def case_of(path):
    """What a golden file says about its computation, and the inputs stored in it."""
    if path.suffix == ".json":
        tables = json.loads(path.read_text())
        schedules = [key for key in tables if key not in ("spacing", "peers")]
        names = sorted({name for key in schedules for name in tables[key]})
        return {"schedules": schedules, "spacing": list(tables.get("spacing", {})), "names": names}, {}
    from golden_format import read

    metadata, tensors = read(path)
    function = kind_of(path.stem)[0]
    if function == "adm":
        return json.loads(metadata["config"]), {key: tensors[key] for key in ("x", "t", "y", "out_grad") if key in tensors}
    if function == "steps":
        return json.loads(metadata["cases"]), {key: v for key, v in tensors.items() if key.startswith("input.")}
    if function == "optimizers":
        return json.loads(metadata["cases"]), {}
    if function == "samplers":
        names = [key for key in tensors if not key.endswith(".timesteps") and not key.startswith("input.")]
        return names, {"input.x_T": tensors["input.x_T"]}
    sizes = [int(key[1:]) for key in tensors if key[0] == "a" and key[1:].isdigit()]
    names = [key for key in tensors if key.split(".")[0] in METRIC_MODULES and ".layer" not in key]
    inputs = {f"{letter}{size}": tensors[f"{letter}{size}"] for letter in "ab" for size in sizes}
    return {"sizes": sizes, "names": names}, inputs


def numbers(content):
    """Every number of a golden file's content, by name."""
    if isinstance(content, dict):
        result = {f"spacing.{key}": value for key, value in content.get("spacing", {}).items()}
        for key, tables in content.items():
            if key not in ("spacing", "peers"):
                result.update({f"{key}.{name}.{i}": [v] for name, row in tables.items() for i, v in row.items()})
        return result
    tensors, metadata = content
    result = dict(tensors)
    if "grad_norms" in metadata:
        result.update({f"grad_norms.{k}": [v] for k, v in json.loads(metadata["grad_norms"]).items()})
        result["num_parameters"] = [int(metadata["num_parameters"])]
    return result


def content_of(path):
    from golden_format import read

    return json.loads(path.read_text()) if path.suffix == ".json" else read(path)[::-1]


def differences(fresh, golden):
    """For the entries that both have. Some gradients are 0 up to rounding: for these, the scale is the float32 rounding
    in sums of the largest ones."""
    from golden_format import difference

    norms = [value[0] for name, value in golden.items() if name.startswith("grad_norms.")]
    rounding = 2.0**-23 * max(norms, default=0) / 1e-5
    result = {}
    for name in sorted(set(golden) & set(fresh)):
        if name.startswith("grad_norms."):
            result[name] = abs(fresh[name][0] - golden[name][0]) / (golden[name][0] + rounding)
        else:
            result[name] = difference(fresh[name], golden[name])
    return result


def compare(path, bound):
    fresh = numbers(compute(path.stem, *case_of(path)))
    golden = numbers(content_of(path))
    unknown = sorted(set(golden) ^ set(fresh))
    by_name = differences(fresh, golden)
    worst = max(by_name, key=by_name.get)
    holds = by_name[worst] <= bound and not unknown
    print(
        f"{'agrees ' if holds else 'DIFFERS'} {path.name}: {len(by_name)} entries, largest difference "
        f"{by_name[worst]:.2e} at {worst}"
    )
    for name in unknown:
        print(f"  only in {'the file' if name in golden else 'what the peers gave'}: {name}")
    return holds


def report_missing(stem, modules):
    packages = [PACKAGES.get(name, name) for name in modules]
    print(f"LEFT OUT {stem}: not installed: {', '.join(packages)}")


def run_compare(arguments):
    is_whole, holds = True, True
    paths = sorted(p for p in arguments.folder.iterdir() if p.suffix in (".safetensors", ".json"))
    for path in paths:
        if kind_of(path.stem) is None:
            print(f"LEFT OUT {path.name}: this script does not make files of that name")
            continue
        absent = missing(kind_of(path.stem)[1])
        if not absent:
            absent = missing(modules_of(path.stem, case_of(path)[0]))
        if absent:
            report_missing(path.name, absent)
            is_whole = False
        else:
            holds = compare(path, arguments.bound) and holds
    return 0 if holds and (is_whole or not arguments.strict) else 1


def run_make(arguments):
    cases = json.loads(arguments.cases.read_text()) if arguments.cases else CASES
    is_whole = True
    arguments.out.mkdir(parents=True, exist_ok=True)
    for stem, case in cases.items():
        if kind_of(stem) is None:
            sys.exit(f"regenerate.py: no golden file is called {stem}*; known are {', '.join(KINDS)}")
        absent = missing(modules_of(stem, case))
        if absent:
            report_missing(stem, absent)
            is_whole = False
            continue
        result = compute(stem, case, {})
        if isinstance(result, dict):
            path = arguments.out / f"{stem}.json"
            path.write_text(json.dumps(result, indent=0) + "\n")
        else:
            from golden_format import write

            path = arguments.out / f"{stem}.safetensors"
            write(path, *result)
        print(f"wrote {path}")
    return 0 if is_whole or not arguments.strict else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("compare", "make", "cases"):
        command = commands.add_parser(name)
        command.add_argument("--strict", action="store_true", help="fail when a peer is not installed")
        if name == "compare":
            command.add_argument("folder", nargs="?", type=Path, default=HERE / "references")
            command.add_argument("--bound", type=float, default=1e-5, help="on the relative difference (default 1e-5)")
        if name == "make":
            command.add_argument("--out", type=Path, required=True)
            command.add_argument("--cases", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "cases":
        print(json.dumps(CASES, indent=2))
        return 0
    return run_compare(arguments) if arguments.command == "compare" else run_make(arguments)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    sys.exit(main())

#!/usr/bin/env python3
"""Writes docs/performance.md and its plot from compare.py's results.json.

    page.py RESULTS.json DOCS
"""

import json
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FixedLocator, NullLocator  # noqa: E402

# The goals: the smallest ratio of rates to the best peer, and the largest ratio of memory, on two cores.
GOALS = {"training, DDPM, 16": 1.8, "training, DDPM, 32 px, 64": 1.5, "training, DDPM, 32 px, 128": 1.3,
         "training, Cas-DM + ST-LPIPS": 1.4, "DDIM": 1.3, "st_lpips": 1.2, "ssim": 1.2, "lpips": 1.2,
         "dists": 1.2, "loading": 3}
LONGEST = {"casdm --help": 10, "casdm plugins list": 15, "casdm config check": 50,
           "first step of configs/quickstart.toml": 1000}
MEMORY_GOAL = 0.5
ORDER = ["training", "DDIM", ("lpips", "dists", "ssim", "st_lpips"), "loading", "Winograd's"]
BY_HAND = "## What limits the speed\n"  # from here on the page is not written anew


def goal_of(case):
    return next((goal for part, goal in GOALS.items() if case.startswith(part)), None)


def rate(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def spread(row):
    return f"{rate(row['median'])} ({rate(min(row['rates']))} to {rate(max(row['rates']))})"


def verdict(value, goal, met):
    return "" if goal is None else f", goal {goal:g}: {'met' if met else 'not met'}"


def tables(results):
    timed = [r for r in results if r["unit"] == "ms"]
    for result in results:
        if result["unit"] == "ms":
            continue
        yield f"### {result['case']}\n"
        yield "| | images/s: median (least to most) | peak memory |\n| --- | --- | --- |"
        for name, row in result["contenders"].items():
            yield f"| {name} | {spread(row)} | {row['peak_mib']:.0f} MiB |"
        for name, problem in result["failed"].items():
            yield f"| {name} | failed: {problem} | |"
        if "ratio" in result:
            low, high = result["ratio_range"]
            goal = goal_of(result["case"])
            memory = verdict(result["memory_ratio"], MEMORY_GOAL, result["memory_ratio"] <= MEMORY_GOAL)
            yield (f"\n{result['ours']} beside {result['best']}: **{result['ratio']:.2f}** ({low:.2f} to {high:.2f})"
                   f"{verdict(result['ratio'], goal, goal and result['ratio'] >= goal)}; memory "
                   f"{result['memory_ratio']:.2f}{memory if result['case'].startswith('training') else ''}.\n")
    if timed:
        yield "### Starting\n\n| | ms: median (least to most) | at most |\n| --- | --- | --- |"
        for result in timed:
            row = result["contenders"]["casdm"]
            longest = LONGEST[result["case"]]
            met = "met" if row["median"] <= longest else "not met"
            yield f"| `{result['case']}` | {spread(row)} | {longest}: {met} |"


def parts(times):
    """Of parts that a library has, too: milliseconds of both, and how many times faster ours is."""
    yield ("### Parts\n\n`benchmarks/parts.cpp`, by Google Benchmark: medians in ms. The library is LibTorch; for JPEG and PNG "
           "it is libjpeg-turbo\nand libpng, which only decode, while casdm also resizes, crops and checks.\n\n"
           "| part | casdm | library | ratio |\n| --- | --- | --- | --- |")
    for part, by in sorted(times.items()):
        ours, theirs = (statistics.median(by[c]) if c in by else None for c in ("casdm", "library"))
        beside = f"{theirs:.3g} | {theirs / ours:.2f}" if theirs else "- | -"
        yield f"| {part} | {ours:.3g} | {beside} |"


def plot(results, path):
    rows = [r for r in results if "ratio" in r and not r["best"].startswith("casdm")]
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.2))
    for i, result in enumerate(reversed(rows)):
        low, high = result["ratio_range"]
        axes.barh(i, result["ratio"], color="#3b6ea5" if result["ratio"] >= 1 else "#b5651d",
                  xerr=[[result["ratio"] - low], [high - result["ratio"]]], ecolor="#555555", capsize=2)
        goal = goal_of(result["case"])
        if goal is not None:
            axes.plot([goal, goal], [i - 0.4, i + 0.4], color="black", linewidth=1.5)
    axes.axvline(1, color="#999999", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(0.5)
    axes.xaxis.set_major_locator(FixedLocator([0.5, 1, 1.5, 2, 3, 5, 10, 20]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(range(len(rows)), [r["case"] for r in reversed(rows)], fontsize=8)
    axes.set_xlabel("rate of casdm / rate of the best peer (line: goal)")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main(results_path, docs):
    data = json.loads(Path(results_path).read_text(encoding="utf-8"))
    data["results"].sort(key=lambda r: next((i for i, kind in enumerate(ORDER) if r["case"].startswith(kind)), len(ORDER)))
    machine = data["machine"]
    plot(data["results"], Path(docs) / "images" / "performance.png")
    page = f"""# Performance on the CPU

<!-- Written by benchmarks/run.sh, as far as "What limits the speed". -->

How fast casdm is beside the programs that people use, measured by `bash benchmarks/run.sh`: the contenders of a case in
turn, {data['rounds']} rounds, {data['threads']} threads, the same weights (casdm's export as diffusers reads it). Training is the whole step: draws, forward, backward, clipping, AdamW (`fused=True`) and the average; the peers have their
images in memory. The ratio is that of a round to the best peer; rates alone say little about another machine.

![Ratios to the best peer](images/performance.png)

| | |
| --- | --- |
| date | {data['date']} |
| processor | {machine['processor']}, {machine['cores']} cores, {', '.join(machine['instructions'])} |
| products of matrices, fp32 | {machine['sgemm_gflops']:.0f} GFLOP/s |
| products of matrices, bf16 | {machine['bf16_gemm_gflops']:.0f} GFLOP/s |
| copying | {machine['copy_gb_per_s']:.1f} GB/s |
| real-time priority | {'yes' if machine['real_time'] else 'no'} |
| other load at the start | {machine['load']:.1f} |
| versions | {data['casdm'].splitlines()[0]}, torch {machine['torch']}; benchmarks/requirements.txt |

"""
    path = Path(docs) / "performance.md"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    rest = before[before.index(BY_HAND):] if BY_HAND in before else ""
    lines = [*tables(data["results"]), *([""] + list(parts(data["parts"])) if "parts" in data else [])]
    path.write_text(page + "\n".join(lines) + "\n\n" + rest, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

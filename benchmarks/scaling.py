#!/usr/bin/env python3
"""Prints the tables of docs/scaling.md that are computed, and draws its plot, from the model and constants of that page.

    scaling.py [IMAGE.png]
"""

import math
import sys
from dataclasses import dataclass

RATE = 72e12          # multiply-adds/s of an H200 in bf16
HOST = 0.0755         # s in which one core queues a step of cifar10_casdm_lpips, at most
GPUS_OF_MACHINE = 8
SLICE = 25 * 2**20    # bytes of gradients that are exchanged at once, GradientExchange::kSliceBytes


@dataclass
class Recipe:
    name: str
    weights: float  # trained
    products: float  # multiply-adds of a step for an image
    batch: int

    def compute(self, images):
        return images * self.products / RATE

    @property
    def bytes(self):
        return 4 * self.weights


RECIPES = [Recipe("cifar10_casdm_lpips", 71.4e6, 38.8e9, 128), Recipe("imagenet64_casdm_lpips", 242e6, 243e9, 128),
           Recipe("lsun_bedroom256_casdm_lpips", 227e6, 1555e9, 64)]


def ring(gpus, count, latency, bandwidth):
    return 0 if gpus == 1 else 2 * (gpus - 1) * latency + 2 * (gpus - 1) / gpus * count / bandwidth


def by_gloo(recipe, gpus):
    """Through the host's memory, which each gradient reaches and leaves at 10 GB/s."""
    copies = 0 if gpus == 1 else 2 * recipe.bytes / 10e9
    return ring(gpus, recipe.bytes, 70e-6, 1.7e9) + copies


def by_nccl(recipe, gpus):
    return ring(gpus, recipe.bytes, 5e-6, 450e9 if gpus <= GPUS_OF_MACHINE else 50e9)


def in_slices(recipe, gpus):
    """Seconds of the sums by NCCL in slices of two equal networks, and what is left of them after the backward pass, which
    has two thirds of the multiply-adds: at least the last slice."""
    count = 2 * math.ceil(recipe.bytes / 2 / SLICE)
    of_slice = ring(gpus, recipe.bytes / count, 5e-6, 450e9 if gpus <= GPUS_OF_MACHINE else 50e9)
    return count * of_slice, max(of_slice, count * of_slice - recipe.compute(recipe.batch) * 2 / 3)


def step(recipe, gpus, add_up, images, host=HOST):
    """Seconds, with `images` on each GPU."""
    return max(recipe.compute(images), host) + add_up(recipe, gpus)


def three_digits(value):
    digits = max(0, 2 - len(str(int(value))) + 1) if value < 100 else 0
    rounded = round(value, digits) if value < 1000 else round(value, 3 - len(str(int(value))))
    return f"{rounded:,.{digits}f}"


def table(add_up, counts):
    print("| recipe | GPUs | compute or host | sum | images/s | of w times one GPU |\n| --- | --- | --- | --- | --- | --- |")
    for recipe in RECIPES:
        alone = recipe.batch / step(recipe, 1, add_up, recipe.batch)
        for gpus in counts:
            added = add_up(recipe, gpus)
            rate = gpus * recipe.batch / step(recipe, gpus, add_up, recipe.batch)
            print(f"| {recipe.name} | {gpus} | {three_digits(1e3 * max(recipe.compute(recipe.batch), HOST))} ms | "
                  f"{three_digits(1e3 * added) + ' ms' if added else '-'} | {three_digits(rate)} | "
                  f"{100 * rate / gpus / alone:.0f} % |")
    print()


def table_of_slices(counts):
    print("| recipe | GPUs | one sum | in slices | after the pass |\n| --- | --- | --- | --- | --- |")
    for recipe in RECIPES:
        for gpus in counts:
            times = (by_nccl(recipe, gpus), *in_slices(recipe, gpus))
            print(f"| {recipe.name} | {gpus} | {' | '.join(three_digits(1e3 * time) + ' ms' for time in times)} |")
    print()


def most_useful(recipe, add_up, host):
    """The number of GPUs, a power of 2, up to which each doubling makes the recipe's own batch at least a third faster."""
    gpus = 1
    while gpus < recipe.batch:
        gain = step(recipe, gpus, add_up, recipe.batch / gpus, host) / step(recipe, 2 * gpus, add_up,
                                                                             recipe.batch / (2 * gpus), host)
        if gain < 4 / 3:
            break
        gpus *= 2
    return gpus


def draw(path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (weak, strong) = plt.subplots(1, 2, figsize=(9.6, 3.9))
    powers = [2**i for i in range(11)]
    for color, recipe in zip(("C0", "C1", "C2"), RECIPES):
        for add_up, counts, line in ((by_nccl, powers, "-"), (by_gloo, powers[:4], "--")):
            alone = step(recipe, 1, add_up, recipe.batch)
            weak.plot(counts, [100 * alone / step(recipe, n, add_up, recipe.batch) for n in counts], line, color=color,
                      marker="." if add_up is by_gloo else "", label=recipe.name if line == "-" else None)
        counts = [n for n in powers if n <= recipe.batch]
        alone = step(recipe, 1, by_nccl, recipe.batch)
        for host, line in ((HOST, "-"), (0, ":")):
            speed = [alone / step(recipe, n, by_nccl, recipe.batch / n, host) for n in counts]
            strong.plot(counts, speed, line, color=color)
    weak.set(xscale="log", ylim=(0, 105), xlabel="GPUs", ylabel="images/s, % of as many times one GPU",
             title="the recipe's batch on each GPU")
    strong.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="times as fast as one GPU",
               title="the recipe's batch on all GPUs together")
    strong.plot(powers[:8], powers[:8], color="0.8", zorder=0)
    for axes, ticks in ((weak, powers[::2]), (strong, powers[:8])):
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(n) for n in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    strong.set_yscale("log", base=2)
    strong.set_yticks(powers[:8], [str(n) for n in powers[:8]])
    weak.plot([], [], "-", color="0.3", label="NCCL (computed)")
    weak.plot([], [], "--", marker=".", color="0.3", label="Gloo (computed)")
    strong.plot([], [], "-", color="0.3", label="NCCL, 75 ms of the host")
    strong.plot([], [], ":", color="0.3", label="NCCL, no time of the host")
    strong.plot([], [], color="0.8", label="as many times as fast")
    for axes in (weak, strong):
        axes.legend(fontsize=7, frameon=False, handlelength=3.5, loc="center right" if axes is weak else "upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main():
    table(by_gloo, (1, 2, 4, 8))
    table(by_nccl, (1, 8, 64, 1024))
    table_of_slices((8, 64, 1024))
    for recipe in RECIPES:
        print(f"{recipe.name}, its batch on all GPUs: up to {most_useful(recipe, by_nccl, HOST)} GPUs, without time of "
              f"the host {most_useful(recipe, by_nccl, 0)}; a checkpoint {16 * recipe.weights / 1e9:.1f} GB")
    if len(sys.argv) > 1:
        draw(sys.argv[1])


if __name__ == "__main__":
    main()

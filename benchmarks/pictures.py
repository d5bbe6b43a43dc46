"""Pictures of the benchmark: how long generators take, and what they render."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from torch import Tensor

from benchmarks.measured import Measured, short, work_name

SAMPLES = 6
"""Samples of each generator in the picture."""


def plot_times(measured: Measured, path: Path) -> None:
    """Bars of milliseconds a sample, on a logarithmic scale."""
    names = measured.names()
    cases = measured.cases()
    colours = plt.get_cmap("tab10").colors
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    width = 0.85 / len(names)
    for place, (grid, batch) in enumerate(cases):
        present = [timing for timing in measured.timings if (timing.grid, timing.batch) == (grid, batch)]
        present.sort(key=lambda timing: names.index(timing.name))
        for number, timing in enumerate(present):
            x = place + (number - (len(present) - 1) / 2) * width
            value = 1e3 * timing.median_s
            colour = colours[names.index(timing.name) % len(colours)]
            axes.bar(x, value, width, color=colour)
            axes.annotate(short(value), (x, value), ha="center", va="bottom", fontsize=6)
    for number, name in enumerate(names):
        axes.bar(0, 0, 0, color=colours[number % len(colours)], label=name)
    axes.set_yscale("log")
    axes.set_xticks(range(len(cases)), [work_name(*case).replace(", ", "\n") for case in cases])
    axes.set_ylabel("ms a sample")
    axes.legend(ncols=len(names), fontsize=7, loc="upper left")
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_samples(samples: dict[str, Tensor], path: Path) -> None:
    """A row of images per generator: images ``(SAMPLES, 1, H, W)`` by name."""
    figure, axes = plt.subplots(
        len(samples),
        SAMPLES,
        figsize=(1.6 * SAMPLES, 1.7 * len(samples)),
        layout="constrained",
        squeeze=False,
    )
    for row, (name, images) in zip(axes, samples.items(), strict=True):
        row[0].set_title(name, fontsize=8, loc="left")
        for place, image in zip(row, images, strict=True):
            place.imshow(image[0], cmap="gray", vmin=0, vmax=1)
            place.set_axis_off()
    figure.savefig(path, dpi=90)
    plt.close(figure)

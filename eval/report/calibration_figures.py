"""Figures of what a model knows about itself: confidence against accuracy, entropy against Dice."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from synthspine.eval.report.figures import EDGE, MODEL_MARKERS, head, legend, model_handles, plain, save
from synthspine.eval.results.findings import MODEL_COLOURS, Findings, set_name
from synthspine.eval.results.reliability import calibration_places, entropies, entropy_places, reliability

FEWEST_PIXELS = 100
"""Pixels of a bin below which its accuracy is noise and is not drawn."""


def calibration_figure(findings: Findings, path: Path) -> None:
    """Reliability diagrams, a panel per set, over the share of pixels in every bin."""
    places = calibration_places(findings)
    figure = Figure(figsize=(2.4 * len(places) + 0.8, 3.9), layout="constrained")
    panels = figure.subplots(2, len(places), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1))
    for place, (upper, lower) in zip(places, panels.T, strict=True):
        upper.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
        lines = []
        for model in findings.models:
            found = reliability(findings, model, place)
            if found is None:
                continue
            enough = found.counts >= FEWEST_PIXELS
            [line] = model_handles([model])
            upper.plot(
                found.confidences[enough],
                found.accuracies[enough],
                line.get_linestyle(),
                color=line.get_color(),
                marker=line.get_marker(),
                markersize=4.5,
                markeredgecolor=EDGE,
                markeredgewidth=0.6,
                linewidth=1.5,
            )
            share = np.where(found.counts > 0, found.counts / found.counts.sum(), np.nan)
            edges = np.linspace(0, 1, len(share) + 1)
            lower.stairs(np.nan_to_num(share, nan=1e-7), edges, color=line.get_color(), linewidth=1.8)
            lines.append(f"{model}: ECE {found.ece:.3f}")
        upper.text(0.04, 0.96, "\n".join(lines), transform=upper.transAxes, va="top", fontsize=7.5)
        upper.set(xlim=(0, 1.03), ylim=(0, 1.03))
        upper.set_title(set_name(place), fontsize=10)
        lower.set_yscale("log")
        lower.set_ylim(1e-6, 1)
        lower.set_xlabel("confidence")
        for axes in (upper, lower):
            plain(axes)
    panels[0][0].set_ylabel("share of right pixels")
    panels[1][0].set_ylabel("share of\npixels", fontsize=8)
    head(figure, "Is the confidence right?", findings.phantom)
    legend(figure, model_handles(findings.models))
    save(figure, path)


def entropy_figure(findings: Findings, path: Path) -> None:
    """Overall Dice over mean entropy, a mark per patient: can a scan tell that its mask is poor?"""
    places = entropy_places(findings)
    figure = Figure(figsize=(2.4 * len(places) + 0.8, 3.0), layout="constrained")
    panels = figure.subplots(1, len(places), squeeze=False, sharex=True, sharey=True)[0]
    for place, axes in zip(places, panels, strict=True):
        for model in findings.models:
            axes.plot(
                *entropies(findings, model, place),
                MODEL_MARKERS[model],
                color=MODEL_COLOURS[model],
                markersize=5,
                markeredgecolor=EDGE,
                markeredgewidth=0.6,
            )
        axes.set_title(set_name(place), fontsize=10)
        axes.set_xlabel("mean entropy (nats)")
        axes.set_ylim(0, 1.02)
        plain(axes)
    panels[0].set_ylabel("overall Dice")
    head(figure, "Does entropy tell a poor mask?", findings.phantom)
    handles = model_handles(findings.models)
    for handle in handles:
        handle.set_linestyle("none")
    legend(figure, handles)
    save(figure, path)

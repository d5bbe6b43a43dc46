"""Figures of the sets as they are: Dice by set, and the differences of A and B."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from synthspine.eval.report.figures import EDGE, MODEL_MARKERS, head, legend, model_handles, plain, save
from synthspine.eval.report.tables import probability
from synthspine.eval.results.findings import MEASURES, MODEL_COLOURS, OVERALL, SYNTHETIC, Findings, set_name
from synthspine.eval.results.paired import gap

SIDE = {"A": -0.14, "B": 0.14}
SPREAD = 0.09


def level_figure(findings: Findings, path: Path) -> None:
    """Dice by set: a panel per measure, means with intervals, a small dot for every patient."""
    places = findings.sets
    figure = Figure(figsize=(9.0, 3.3), layout="constrained")
    panels = figure.subplots(1, len(MEASURES), sharey=True)
    for axes, measure in zip(panels, MEASURES, strict=True):
        for model in findings.models:
            for index, place in enumerate(places):
                measurement = findings.plain(model, place)
                interval = None if measurement is None else measurement.interval(measure)
                if measurement is None or interval is None:
                    continue
                x = index + SIDE[model]
                dots = np.sort(list(measurement.values(measure).values()))
                spread = np.linspace(-SPREAD, SPREAD, len(dots)) if len(dots) > 1 else np.zeros(1)
                axes.plot(
                    x + spread, dots, ".", color=MODEL_COLOURS[model], markersize=3, alpha=0.8, zorder=2
                )
                axes.plot([x, x], [interval.low, interval.high], color=EDGE, linewidth=1.3, zorder=3)
                axes.plot(
                    x,
                    interval.mean,
                    MODEL_MARKERS[model],
                    color=MODEL_COLOURS[model],
                    markersize=6.5,
                    markeredgecolor=EDGE,
                    markeredgewidth=0.8,
                    zorder=4,
                )
        if SYNTHETIC in places and len(places) > 1:
            axes.axvline(0.5, color="#bbbbbb", linewidth=0.8, linestyle=":")
        axes.set_title(measure, fontsize=10)
        axes.set_xticks(range(len(places)), [set_name(place).replace(" ", "\n") for place in places])
        axes.set_xlim(-0.5, len(places) - 0.5)
        axes.set_ylim(0, 1.02)
        plain(axes)
    panels[0].set_ylabel("Dice")
    head(figure, "The same models on every set", findings.phantom)
    handles = model_handles(findings.models)
    for handle in handles:
        handle.set_linestyle("none")
    legend(figure, handles)
    save(figure, path)


def gap_figure(findings: Findings, path: Path) -> None:
    """Differences A − B with intervals, one line per set and measure."""
    rows = [(place, measure) for place in findings.sets for measure in MEASURES]
    pairs = [(place, measure, found) for place, measure in rows if (found := gap(findings, place, measure))]
    figure = Figure(figsize=(9.0, 0.25 * len(pairs) + 1.4), layout="constrained")
    axes = figure.subplots()
    height, ticks, previous = 0.0, [], None
    for place, measure, found in pairs:
        height += 1.7 if previous not in (None, place) else 1.0
        previous = place
        difference = found.difference
        overall = measure == OVERALL
        axes.plot(
            [difference.low, difference.high], [height] * 2, color=EDGE, linewidth=2.2 if overall else 1.2
        )
        axes.plot(
            difference.mean,
            height,
            "D" if overall else "o",
            markersize=6,
            color=MODEL_COLOURS["A" if difference.mean > 0 else "B"],
            markeredgecolor=EDGE,
            markeredgewidth=0.8,
        )
        ticks.append((height, f"{set_name(place)}  {measure}"))
        axes.annotate(
            f"n {found.n}, p {probability(found.paired.p)}",
            (1.01, height),
            xycoords=("axes fraction", "data"),
            fontsize=7,
            va="center",
            color="#444444",
        )
    axes.axvline(0, color=EDGE, linewidth=0.9)
    reach = 1.1 * max(
        (abs(end) for *_, f in pairs for end in (f.difference.low, f.difference.high)), default=1
    )
    axes.set_xlim(-max(reach, 0.05), max(reach, 0.05))
    axes.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
    axes.invert_yaxis()
    plain(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_xlabel("← B better    difference of Dice, A − B, 95 % interval    A better →", fontsize=9)
    head(figure, "A against B on the same patients", findings.phantom)
    save(figure, path)

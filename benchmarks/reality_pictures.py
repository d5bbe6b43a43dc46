"""Pictures of what matters for real scans, from the CSV of the study (benchmarks/reality_gap.py).

    python benchmarks/reality_pictures.py --csv benchmarks/results/reality_gap.csv --output-dir docs/images

Writes ``reality_arms.png`` (every arm against the reference), ``reality_contrast.png`` (T1 and T2 by
structure) and ``reality_resolution.png`` (coarser input). The numbers are those of the tables of
docs/reality_gap.md. Arms that are not in the CSV are left out; a picture without any arm is not drawn.
"""

import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# The packages are those of the repository, whatever this folder's files are called.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from PIL import Image

from benchmarks import reality_results as results
from benchmarks import reality_table as table
from benchmarks.reality_arms import REFERENCE
from benchmarks.reality_compared import CONTROLS, Compared, compare, section_of
from benchmarks.reality_results import Row
from benchmarks.reality_scoring import FACTORS
from benchmarks.reality_slices import CONTRASTS
from benchmarks.reality_study import Study
from synthspine.eval.metrics.statistics import Interval, bootstrap_mean, narrowness
from synthspine.eval.report.drawing import EDGE, MODEL_LINES, MODEL_MARKERS, legend, plain, save
from synthspine.eval.results.outcome import MODEL_COLOURS, set_name
from synthspine.gen.core.anatomy import STRUCTURES
from synthspine.shards.command import run_command
from synthspine.shards.storage.atomic import atomic_path

DEFAULT = Study()
CONTRAST_ARMS = ("spine", "contrast-t1", "contrast-t2", "contrast-random", "b", "b-strong", "b-both")
# Colours of Tol's "muted" scheme, like those of the models, and of his "vibrant" one.
RESOLUTION_ARMS = {
    "spine": MODEL_COLOURS["A"],
    "resolution-none": "#999933",
    "resolution-1-8": "#332288",
    "b": MODEL_COLOURS["B"],
    "b-strong": "#44AA99",
}
MARKS = {"overall": ("D", EDGE, 4.2), "seed": ("o", "white", 5.5)}
MARKS |= {"t1": ("^", "#0077BB", 4.2), "t2": ("v", "#EE7733", 4.2)}
"""Marker, colour and size in points."""
OFFSETS = {"t1": -0.29, "t2": 0.29}
"""Place of a contrast in the row of its arm, in rows."""
REACH = 0.4
"""Differences beyond it are arrows at the edge: a few arms that failed must not press the others together."""
SOFT, GRID, BAND = "#555555", "#dddddd", "#f2f3f5"
WIDTH = 9.0
"""Inches, and a hundred pixels each where a page shows a picture 900 pixels wide."""
ROW, LEFT, RIGHT, TOP, BOTTOM = 0.235, 2.62, 2.2, 0.8, 1.2
"""Inches: height of a row of the arms, and what is around them."""
COLUMNS = {"difference (95 % interval)": 0.62, "seeds": 0.12}
"""Inches from the right to the end of these columns."""


def arms_figure(arms: Sequence[Compared], title: str) -> Figure:
    """Forest plot: a row per arm with its difference, interval, contrasts and seeds, and the numbers."""
    height = TOP + ROW * len(arms) + BOTTOM
    figure = Figure(figsize=(WIDTH, height))
    span = WIDTH - LEFT - RIGHT
    axes = figure.add_axes((LEFT / WIDTH, BOTTOM / height, span / WIDTH, ROW * len(arms) / height))
    low, high = _limits(arms)
    axes.set_xlim(low, high)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    _upright(axes, [f"{arm.name} {table.OTHER_CODE}" if arm.other_code else arm.name for arm in arms])
    axes.axvline(0, color=EDGE, linewidth=0.9)
    for row, arm in enumerate(arms):
        ends = [arm.overall.low, arm.overall.high]
        axes.plot(ends, [row, row], color=EDGE, linewidth=1.5, gid=f"{arm.name} interval")
        for name, x, kind in arm.dots():
            y = row + OFFSETS.get(name, 0.0)
            axes.plot(x, y, gid=f"{arm.name} {name}", zorder=3, **_style(kind))
            if x < low or x > high:
                edge, arrow = (low, "<") if x < low else (high, ">")
                axes.plot(edge, y, clip_on=False, zorder=4, **_style(kind, marker=arrow))
    texts = [[table.signed_interval(arm.overall), str(len(arm.seeds))] for arm in arms]
    for row, line in enumerate([[*COLUMNS], *texts], start=-1):
        for inches, text in zip(COLUMNS.values(), line, strict=True):
            _beside(axes, 1 + (RIGHT - inches) / span, row, text, ha="right", fontsize=7.5)
    _groups(axes, [arm.group for arm in arms], -(LEFT - 0.1) / span, 1 + (RIGHT - 0.08) / span)
    axes.set_xlabel(f"← worse than {REFERENCE}    difference of overall Dice    better →", fontsize=9)
    handles = [Line2D([], [], label="overall", **_style("overall", linestyle="-"))]
    handles += [Line2D([], [], label=f"on {set_name(place)}", **_style(place)) for place in CONTRASTS]
    if any(len(arm.seeds) > 1 for arm in arms):
        handles.append(Line2D([], [], label="one seed, overall", **_style("seed")))
    note = "On the seeds, folds and patients of both. Arrows at the edge: beyond the axis. "
    if any(arm.other_code for arm in arms):
        note += f"{table.OTHER_CODE}: made by other code than {REFERENCE}. "
    return _finished(figure, title, handles, note, [arm.overall.n for arm in arms])


def _limits(arms: Sequence[Compared]) -> tuple[float, float]:
    values = [-0.02, 0.02, *(end for arm in arms for end in (arm.overall.low, arm.overall.high))]
    values += [value for arm in arms for _, value, _ in arm.dots()]
    known = [max(-REACH, min(REACH, value)) for value in values if not math.isnan(value)]
    margin = 0.03 * (max(known) - min(known))
    return max(-REACH, min(known) - margin), min(REACH, max(known) + margin)


def _groups(axes: Axes, names: Sequence[str], left: float, right: float) -> None:
    """Name every group beside its first row, shade every second one, part the controls from the others."""
    at = axes.get_yaxis_transform()
    for number, group in enumerate(dict.fromkeys(names)):
        top, count = names.index(group) - 0.5, names.count(group)
        _beside(axes, left + 0.01, top + 0.5, group, fontsize=8, style="italic", color=SOFT)
        style: dict[str, Any] = {"transform": at, "clip_on": False, "zorder": -2}
        if number % 2 == 0:
            axes.fill_between([left, right], top, top + count, color=BAND, linewidth=0, **style)
        if group == CONTROLS[0] and number:
            axes.plot([left, right], [top, top], color=EDGE, linewidth=0.9, **style)


def _beside(axes: Axes, x: float, row: float, text: str, **style: Any) -> None:
    axes.text(x, row, text, transform=axes.get_yaxis_transform(), va="center_baseline", **style)


def _upright(axes: Axes, names: Sequence[str]) -> None:
    """The look of a panel whose rows are arms."""
    plain(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)


def contrast_figure(lines: Mapping[str, table.Line], title: str) -> Figure:
    """Dice on T1 and on T2, joined by a line: a panel per structure, a row per arm."""
    arms = [lines[name] for name in CONTRAST_ARMS if name in lines]
    figure = Figure(figsize=(WIDTH, 0.4 * len(arms) + 1.85), layout="constrained")
    panels = figure.subplots(1, len(STRUCTURES), sharex=True, sharey=True)
    real = [row for row, line in enumerate(arms) if line.group in CONTROLS]
    for axes, structure in zip(panels, STRUCTURES, strict=True):
        _upright(axes, [_counted(line) for line in arms])
        for row, line in enumerate(arms):
            found = {place: _dice(line, structure, 1.0, place) for place in CONTRASTS}
            heights = {place: row + 0.6 * OFFSETS[place] for place in CONTRASTS}
            means = [mean.mean for mean in found.values()]
            axes.plot(means, list(heights.values()), color="#aaaaaa", linewidth=2.2)
            for place, mean in found.items():
                y, style = heights[place], _style(place, markersize=6.5)
                axes.plot([mean.low, mean.high], [y, y], color=style["color"], linewidth=1.2)
                axes.plot(mean.mean, y, gid=f"{line.name} {structure} {place}", **style)
        if real and real[0]:
            axes.axhline(real[0] - 0.5, color=EDGE, linewidth=0.9, linestyle=":")
        axes.set_title(structure, fontsize=10)
        axes.set_xlabel("Dice", fontsize=9)
    panels[0].set_ylim(len(arms) - 0.5, -0.5)
    panels[0].set_xlim(0, 1)
    note = "Below the dotted line: trained on real images. " if real and real[0] else ""
    handles = [Line2D([], [], label=set_name(place), **_style(place, markersize=6.5)) for place in CONTRASTS]
    patients = [len(table.per_patient(line.cells, table.OVERALL, 1.0)) for line in arms]
    return _finished(figure, title, handles, note, patients)


def resolution_figure(lines: Mapping[str, table.Line], title: str) -> Figure:
    """Overall Dice over the pixel size: a panel per contrast, a curve per arm."""
    arms = [lines[name] for name in RESOLUTION_ARMS if name in lines]
    figure = Figure(figsize=(WIDTH, 4.3), layout="constrained")
    panels = figure.subplots(1, len(CONTRASTS), sharey=True)
    handles = [Line2D([], [], label=_counted(line), **_curve(line)) for line in arms]
    for axes, contrast in zip(panels, CONTRASTS, strict=True):
        for number, line in enumerate(arms):
            found = [_dice(line, table.OVERALL, factor, contrast) for factor in FACTORS]
            # Side by side, so that no interval hides another one.
            places = [factor + 0.05 * (number - (len(arms) - 1) / 2) for factor in FACTORS]
            ends = [mean.low for mean in found], [mean.high for mean in found]
            axes.vlines(places, *ends, color=EDGE, linewidth=0.8, zorder=2)
            means = [mean.mean for mean in found]
            axes.plot(places, means, gid=f"{line.name} {contrast}", zorder=3, **_curve(line))
        axes.set_title(set_name(contrast), fontsize=10)
        axes.set_xticks(FACTORS, [f"{factor:g}x" for factor in FACTORS])
        axes.set_xlabel("pixel size of the input, multiple of the slice's", fontsize=9)
        plain(axes)
    panels[0].set_ylabel("overall Dice", fontsize=9)
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(max(0.0, math.floor(20 * low) / 20), min(1.0, math.ceil(20 * high) / 20))
    note = "Dashed: trained on real T1 images. " if any(line.group in CONTROLS for line in arms) else ""
    patients = [len(table.per_patient(line.cells, table.OVERALL, 1.0)) for line in arms]
    return _finished(figure, title, handles, note, patients)


def _style(kind: str, **changes: Any) -> dict[str, Any]:
    marker, colour, size = MARKS[kind]
    edge = {"markeredgecolor": EDGE if kind == "seed" else colour, "markeredgewidth": 0.6}
    return edge | {"marker": marker, "color": colour, "markersize": size, "linestyle": "none"} | changes


def _curve(line: table.Line) -> dict[str, Any]:
    model = "B" if line.group in CONTROLS else "A"
    look = {"linestyle": MODEL_LINES[model], "marker": MODEL_MARKERS[model], "markersize": 5.5}
    return look | {"color": RESOLUTION_ARMS[line.name], "markeredgecolor": EDGE, "markeredgewidth": 0.6}


def _dice(line: table.Line, measure: str, factor: float, contrast: str) -> Interval:
    return bootstrap_mean(table.per_patient(line.cells, measure, factor, contrast))


def _counted(line: table.Line) -> str:
    seeds = len({cell[0] for cell in line.cells})
    return f"{line.name} ({seeds} seed{'s' * (seeds > 1)})"


def _finished(
    figure: Figure, title: str, handles: Sequence[Line2D], note: str, patients: Sequence[int]
) -> Figure:
    """The figure with its title, its legend, and a note on the intervals of so many patients."""
    # Without a layout, Matplotlib puts the title at a share of the height, which may be large.
    y = None if figure.get_layout_engine() else 1 - 0.1 / figure.get_figheight()
    figure.suptitle(title, fontsize=11, y=y)
    few, most = min(patients), max(patients)
    many = str(few) if few == most else f"{few} to {most}"
    note += f"Bars: 95 % bootstrap intervals, {many} patients. {narrowness(few)}"
    below = legend(figure, handles)
    below.set_title(textwrap.fill(note, 135), prop=FontProperties(size=7.5))
    below.get_title().set(color=SOFT, multialignment="center")
    return figure


def figures(rows: Sequence[Row], section: str) -> dict[str, Figure]:
    """The pictures for which there is something to show, by the name of their file."""
    lines = table.lines_of(rows)
    found = {}
    if arms := compare(lines):
        title = f"Overall Dice of every arm against {REFERENCE}\n{section}"
        found["reality_arms.png"] = arms_figure(arms, title)
    if lines.keys() & set(CONTRAST_ARMS):
        found["reality_contrast.png"] = contrast_figure(lines, f"Dice by contrast and structure\n{section}")
    if lines.keys() & RESOLUTION_ARMS.keys():
        title = f"Overall Dice by resolution of the input\n{section}"
        found["reality_resolution.png"] = resolution_figure(lines, title)
    return found


def draw(csv: Path = DEFAULT.csv, output_dir: Path = Path("docs/images"), steps: int = 0) -> None:
    """Draw the pictures of the study.

    Args:
        csv: what `reality_gap.py run` has gathered.
        output_dir: where the pictures go.
        steps: budget whose runs are drawn; 0 for the one with the most arms.

    Raises:
        ValueError: the CSV is no such table, or has no run to draw; the message names it.
    """
    rows = [row for row in results.read(csv) if steps in (0, row.key.budget)]
    if not rows:
        raise ValueError(f"{csv}: no run{f' of {steps} steps' if steps else ''} is in it")
    section, rows = section_of(rows)
    pictures = figures(rows, section)
    if not pictures:
        raise ValueError(f"{csv}: no arm that a picture shows is in it")
    output_dir.mkdir(parents=True, exist_ok=True)
    for name, figure in pictures.items():
        path = output_dir / name
        save(figure, path)
        with Image.open(path) as picture, atomic_path(path) as temporary:
            # A palette takes a third of the bytes; this method keeps the colours of small marks.
            small = picture.convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE)
            small.save(temporary, format="png", optimize=True)
        print(f"wrote {path}: {section}")


def main() -> int:
    """Parse the command line and draw; the exit status."""
    return run_command(lambda: tyro.cli(draw))


if __name__ == "__main__":
    sys.exit(main())

"""Pictures of what the project does, from the phantom alone."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from eval.batches import SliceBatches
from eval.figures import DPI, Overlay, overlay_figure
from eval.metrics import STRUCTURE_SCHEME, group_structures
from gen import SpineSynthGenerator, label_scheme
from gen.anatomy import CODES, IGNORE, STRUCTURES
from gen.presets import PRESETS
from shards.atomic import atomic_path
from shards.options import DEFAULT_DATA_DIR, ShardOptions
from shards.phantom_folder import PHANTOM_FOLDER
from shards.read import open_set
from shards.sets import ensure_sets
from train.checkpoint import load_model
from train.distributed import join_ranks
from train.experiment import train_models
from train.options import TrainOptions

CREDIT = "Label maps and images: the project's own phantom."
PHANTOM = ShardOptions(use_dummy_data=True, shards_dir=DEFAULT_DATA_DIR / PHANTOM_FOLDER / "shards")
SHORT_TRAINING = TrainOptions(
    model="A", epochs=8, lr=0.003, num_classes=4, validation_samples=16, shards=PHANTOM
)
COLUMNS = 5


def synth(output_dir: Path) -> list[Path]:
    """Label maps, and what every preset makes of them."""
    maps = _label_maps(COLUMNS)
    rows = [("label map", [_coloured(codes) for codes in maps])]
    for place, name in enumerate(PRESETS):
        generator = SpineSynthGenerator(name, labels="dense")
        indices = range(place * COLUMNS, (place + 1) * COLUMNS)
        image, _ = generator.sample(maps[:, None], indices=indices, maps=range(COLUMNS))
        rows.append((name, [picture.numpy() for picture in image[:, 0]]))
    return [_sheet(rows, output_dir / "synth.png", "One label map a column, one preset a row")]


def contrast(output_dir: Path) -> list[Path]:
    """The same anatomy from T1 to T2: nothing moves, only the contrast does."""
    alphas = np.linspace(0, 1, COLUMNS)
    generator = SpineSynthGenerator("spine", resolution_range=(1.0, 1.0), labels="dense")
    rows = []
    for index, codes in enumerate(_label_maps(2)):
        images = [generator.generate_synthetic_mri(codes, float(alpha), index=index) for alpha in alphas]
        rows.append((f"map {index + 1}", [image.numpy() for image in images]))
    titles = [f"alpha = {alpha:g}" for alpha in alphas]
    titles[0], titles[-1] = f"{titles[0]} (T1)", f"{titles[-1]} (T2)"
    return [_sheet(rows, output_dir / "contrast.png", "From T1 to T2 on a still label map", titles)]


def training(output_dir: Path) -> list[Path]:
    """A short training of Model A, and its course."""
    options = replace(SHORT_TRAINING, save_dir=output_dir / "models")
    with join_ranks(options.shards.device) as ranks:
        train_models(options, ranks)
    with options.file("A", "log.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [int(row["step"]) for row in rows]
    left.plot(steps, [float(row["loss"]) for row in rows], "o-", color="#222222")
    left.set(xlabel="step", ylabel="loss", title="Training on synthetic images")
    for name, marker in zip(STRUCTURES, "os^", strict=True):
        values = [float(row[f"dice_{name}"] or "nan") for row in rows]
        right.plot(steps, values, marker=marker, color=_rgb(name), label=name)
    right.set(xlabel="step", ylabel="Dice", ylim=(0, 1), title="Validation on synthetic images")
    right.legend(frameon=False)
    return [_save(figure, output_dir / "training.png")]


def inference(output_dir: Path) -> list[Path]:
    """Model A on phantom images that it never saw, T1 and T2; trains one first where there is none."""
    candidates = [TrainOptions().file("A", "best.pth"), _short_model(output_dir)]
    checkpoint = next((path for path in candidates if path.is_file()), None)
    if checkpoint is None:
        training(output_dir)
        checkpoint = _short_model(output_dir)
    model = load_model(checkpoint)
    sets = ensure_sets(("real_t1_val", "real_t2_val"), PHANTOM)
    rows = []
    for title, name in (("T1", "real_t1_val"), ("T2", "real_t2_val")):
        batches = SliceBatches(sets[name], 1)
        image, label, record = batches.slice_at(batches.slices // 2)
        with torch.inference_mode():
            answer = model(image[None, None]).argmax(1)[0]
        found = group_structures(answer, label_scheme(model.num_classes))
        maps = {"truth": STRUCTURE_SCHEME.encode(label).numpy(), "Model A": found.numpy()}
        inside = (label != IGNORE).numpy()
        rows.append(
            Overlay(title=f"{title}, {record['source']}", image=image.numpy(), inside=inside, maps=maps)
        )
    path = output_dir / "inference.png"
    overlay_figure(rows, path, title=f"{checkpoint.name} on unseen images", credit=CREDIT, phantom=True)
    return [path]


DEMOS = {"synth": synth, "contrast": contrast, "training": training, "inference": inference}


def _short_model(output_dir: Path) -> Path:
    return replace(SHORT_TRAINING, save_dir=output_dir / "models").file("A", "best.pth")


def _label_maps(count: int) -> torch.Tensor:
    """Mid-sagittal label maps of as many phantom patients, dense codes, uint8 ``(count, H, W)``."""
    bank = open_set(ensure_sets(("labels",), PHANTOM)["labels"]).read()
    by_patient: dict[str, list[int]] = {}
    for index, record in enumerate(bank.records):
        by_patient.setdefault(str(record["patient"]), []).append(index)
    middles = [indices[len(indices) // 4] for indices in by_patient.values()]
    return torch.from_numpy(bank.labels[middles[:count]])


def _coloured(codes: torch.Tensor) -> np.ndarray:
    scheme = label_scheme("4")
    palette = np.array([*scheme.colours, *[(40, 40, 40)] * (CODES - scheme.num_classes)], dtype=np.uint8)
    return palette[scheme.encode(codes).numpy()]


def _rgb(structure: str) -> tuple[float, float, float]:
    scheme = label_scheme("4")
    red, green, blue = scheme.colours[scheme.class_names.index(structure)]
    return red / 255, green / 255, blue / 255


def _sheet(
    rows: list[tuple[str, list[np.ndarray]]], path: Path, title: str, columns: list[str] | None = None
) -> Path:
    """A sheet of pictures, one row a title."""
    width, height = len(rows[0][1]), len(rows)
    ratio = rows[0][1][0].shape[0] / rows[0][1][0].shape[1]
    tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    figure = Figure(figsize=(1.8 * width + 0.3, 1.8 * ratio * height + 0.5), layout=tight)
    panels = figure.subplots(height, width, squeeze=False)
    for (name, pictures), line in zip(rows, panels, strict=True):
        for picture, axes in zip(pictures, line, strict=True):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    for name, axes in zip(columns or [], panels[0], strict=False):
        axes.set_title(name, fontsize=9)
    figure.suptitle(title, fontsize=11)
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI // 2, format="png")
    return path

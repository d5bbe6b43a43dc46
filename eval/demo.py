"""Pictures of what the project does, from the phantom alone."""

import csv
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from synthspine.eval.gallery import contrast, gallery
from synthspine.eval.metrics.overlap import STRUCTURE_SCHEME
from synthspine.eval.report.figures import DPI
from synthspine.eval.report.pictures import Overlay, overlay_figure
from synthspine.eval.sheets import PHANTOM, contact_sheet, phantom_maps
from synthspine.eval.studies.batches import SliceBatches
from synthspine.gen import SpineSynthGenerator, label_scheme
from synthspine.gen.core.anatomy import IGNORE, STRUCTURES
from synthspine.gen.presets import PRESETS
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.checking.contact_sheet import coloured
from synthspine.shards.storage.atomic import atomic_path
from synthspine.train.decoding import likeliest_structures
from synthspine.train.experiment import train_models
from synthspine.train.model.checkpoint import load_model
from synthspine.train.options import TrainOptions
from synthspine.train.runtime.distributed import join_ranks

SHORT_TRAINING = TrainOptions(
    model="A", epochs=8, lr=0.003, num_classes=4, validation_samples=16, shards=PHANTOM
)
COLUMNS = 5


def synth(output_dir: Path) -> list[Path]:
    """Label maps, and what every preset makes of them."""
    maps = phantom_maps(COLUMNS)
    rows = [("label map", [coloured(codes.numpy()) for codes in maps])]
    for place, name in enumerate(PRESETS):
        generator = SpineSynthGenerator(name, labels="dense")
        indices = range(place * COLUMNS, (place + 1) * COLUMNS)
        image, _ = generator.sample(maps[:, None], indices=indices, maps=range(COLUMNS))
        rows.append((name, [picture.numpy() for picture in image[:, 0]]))
    return [contact_sheet(rows, output_dir / "synth.png", "One label map a column, one preset a row")]


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
    FigureCanvasAgg(figure)
    path = output_dir / "training.png"
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png")
    return [path]


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
            found = likeliest_structures(model(image[None, None]), label_scheme(model.num_classes))[0]
        maps = {"truth": STRUCTURE_SCHEME.encode(label).numpy(), "Model A": found.numpy()}
        inside = (label != IGNORE).numpy()
        rows.append(
            Overlay(title=f"{title}, {record['source']}", image=image.numpy(), inside=inside, maps=maps)
        )
    path = output_dir / "inference.png"
    overlay_figure(rows, path, title=f"{checkpoint.name} on unseen images of the phantom")
    return [path]


DEMOS = {
    "synth": synth,
    "contrast": contrast,
    "gallery": gallery,
    "training": training,
    "inference": inference,
}


def _short_model(output_dir: Path) -> Path:
    return replace(SHORT_TRAINING, save_dir=output_dir / "models").file("A", "best.pth")


def _rgb(structure: str) -> tuple[float, float, float]:
    scheme = label_scheme("4")
    red, green, blue = scheme.colours[scheme.class_names.index(structure)]
    return red / 255, green / 255, blue / 255

"""Example pictures of the project, from the phantom alone.

    synthspine demo --demo synth|contrast|gallery|training|inference|all [--output-dir results/demo]

In a checkout also ``python example.py``.
"""

import csv
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Literal

import torch
import tyro
from matplotlib.figure import Figure

from synthspine.eval.gallery import contrast, gallery, phantom_maps, tile
from synthspine.eval.labelling.roles import by_rank
from synthspine.eval.report.figures import save
from synthspine.eval.studies.batches import SliceBatches
from synthspine.gen import SpineSynthGenerator
from synthspine.gen.presets import PRESETS
from synthspine.shards.building.options import DEFAULT_DATA_DIR, ShardOptions
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.checking.contact_sheet import write_sheet
from synthspine.shards.checking.overlay import code_colours, coloured
from synthspine.shards.command import run_command
from synthspine.shards.readers.phantom import PHANTOM_FOLDER
from synthspine.shards.readers.slices import Grid
from synthspine.train.config import TrainOptions
from synthspine.train.decoding import likeliest_classes
from synthspine.train.experiment import train_models
from synthspine.train.model.checkpoint import load_model
from synthspine.train.runtime.distributed import join_ranks

PHANTOM = ShardOptions(use_dummy_data=True, shards_dir=str(DEFAULT_DATA_DIR / PHANTOM_FOLDER / "shards"))
COARSE = replace(
    PHANTOM,
    grid=Grid(spacing_mm=2.0, shape=(160, 128)),
    shards_dir=f"{PHANTOM.shards_dir}_2mm",
)
"""The sets of ``make`` without data: a quarter of the pixels, to train in a minute on one core."""
SHORT_TRAINING = TrainOptions(
    model="A",
    epochs=3,
    batch_size=2,
    lr=0.006,
    ema_decay=0.98,
    scheme="structures",
    validation_samples=16,
    shards=COARSE,
)
COLUMNS = 5


def synth(output_dir: Path) -> list[Path]:
    """Label maps, and synthetic images of every preset."""
    maps = phantom_maps(COLUMNS)
    tiles = [tile([coloured(codes.numpy())], "label map") for codes in maps]
    for place, name in enumerate(PRESETS):
        generator = SpineSynthGenerator(name, labels="dense")
        indices = range(place * COLUMNS, (place + 1) * COLUMNS)
        image, _ = generator.sample(maps[:, None], indices=indices, maps=range(COLUMNS))
        tiles += [tile([picture.numpy()], name) for picture in image[:, 0]]
    title = "One label map a column, one preset a row"
    return [write_sheet(tiles, output_dir / "synth.png", title, columns=COLUMNS)]


def training(output_dir: Path) -> list[Path]:
    """A short training of Model A, with its loss and Dice."""
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
    whole = options.label_scheme.by_structure()
    for name, rgb, marker in zip(whole.structure_names, whole.colours[1:], cycle("os^v")):
        values = [float(row[f"dice_{name}"] or "nan") for row in rows]
        colour = [value / 255 for value in rgb]
        right.plot(steps, values, marker=marker, color=colour, label=name)
    right.set(xlabel="step", ylabel="Dice", ylim=(0, 1), title="Validation on synthetic images")
    right.legend(frameon=False)
    path = output_dir / "training.png"
    save(figure, path)
    return [path]


def inference(output_dir: Path) -> list[Path]:
    """Model A on unseen phantom images, T1 and T2; a model is trained first where there is none."""
    candidates = [TrainOptions().file("A", "best.pth"), _short_model(output_dir)]
    checkpoint = next((path for path in candidates if path.is_file()), None)
    if checkpoint is None:
        training(output_dir)
        checkpoint = _short_model(output_dir)
    model = load_model(checkpoint)
    spacing_mm = model.checkpoint.spacing_mm
    shards = COARSE if spacing_mm == COARSE.grid.spacing_mm else PHANTOM
    scheme, legend = model.scheme, by_rank(model.scheme)
    colours = code_colours(legend)
    tiles = []
    for title, name in (("T1", "real_t1_val"), ("T2", "real_t2_val")):
        batches = SliceBatches(ensure_sets((name,), shards)[name], 1)
        middle = batches.slices // 2
        image, codes = batches.at(torch.tensor([middle]))
        with torch.inference_mode():
            predicted = likeliest_classes(model(image), scheme)
        picture = image[0, 0].numpy()
        # The truth in the colours of the model's classes.
        classes = (scheme.encode(codes), predicted)
        maps = [coloured(scheme.decode(each)[0].numpy(), picture, colours=colours) for each in classes]
        name = f"{title}: image, truth, {checkpoint.name}"
        source = str(batches.records[middle]["source"])
        tiles.append(tile([picture, *maps], name, source, height=PHANTOM.grid.shape[0]))
    title = "Segmentation of unseen phantom images"
    return [write_sheet(tiles, output_dir / "inference.png", title, columns=1, legend=legend)]


DEMOS = {demo.__name__: demo for demo in (synth, contrast, gallery, training, inference)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Demo and output folder."""

    demo: Literal["synth", "contrast", "gallery", "training", "inference", "all"] = "all"
    """synth: label maps and synthetic images of every preset; contrast: from T1 to T2; gallery: a sheet per
    preset, every feature off and on, from T1 to T2; training: a short training of Model A; inference: a
    trained Model A on unseen images."""
    output_dir: Path = Path("results/demo")
    """Folder of the pictures."""


def main() -> int:
    """Parse the command line and write the pictures; the exit status."""
    return run_command(_draw)


def _draw() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    for name in DEMOS if arguments.demo == "all" else [arguments.demo]:
        for path in DEMOS[name](arguments.output_dir):
            print(f"wrote {path}", flush=True)


def _short_model(output_dir: Path) -> Path:
    return replace(SHORT_TRAINING, save_dir=output_dir / "models").file("A", "best.pth")

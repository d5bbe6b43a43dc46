"""Prediction of image files: which files, with which model, and where the masks go."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from tqdm import tqdm

from eval.segment import MIN_ISLAND_MM2, RankSource, segment_volume
from gen.anatomy import spider_values
from gen.device import pick_device
from shards.spider import image_stem, read_image, write_like
from train.checkpoint import load_model


class PredictionError(ValueError):
    """The files that were asked for cannot be predicted; the message is one line that says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictOptions:
    """Which images are segmented with which model."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Image volumes, .mha or .nii.gz, any orientation; one slice is a volume too."""
    checkpoint: Path
    """A model that the trainer saved."""
    output_dir: Path = Path("results/predictions")
    """Where the masks are written."""
    min_island_mm2: float = MIN_ISLAND_MM2
    """Regions of a structure that are smaller than this in a slice are removed; 0 keeps all."""
    ranks: RankSource = "auto"
    """Number vertebrae and discs by counting discs along the canal, or as the model says; auto asks the
    model where it has ranks (14 classes) and counts where it has none (4 classes)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs."""

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError("no image given; name one or more .mha or .nii.gz files")
        if not self.min_island_mm2 >= 0:
            raise ValueError(f"min_island_mm2 {self.min_island_mm2} is not 0 or more")


def predict(options: PredictOptions) -> Iterator[Path]:
    """Segment the images one after the other; yields every mask when it is written.

    Raises:
        PredictionError: two images would be written to one file, or the model has no ranks to give.
        SpiderError: an image cannot be read.
        CheckpointError: the checkpoint cannot be used.
    """
    places = _places(options)
    device = pick_device(options.device)
    model = load_model(options.checkpoint, device)
    values = spider_values()
    for image, place in tqdm(places.items(), desc="predict", unit="volume", file=sys.stderr):
        volume = read_image(image)
        try:
            codes = segment_volume(
                model,
                volume,
                spacing_mm=model.checkpoint.spacing_mm,
                device=device,
                min_island_mm2=options.min_island_mm2,
                ranks=options.ranks,
            )
        except torch.cuda.OutOfMemoryError:
            raise PredictionError(f"{image}: too large for the GPU's memory; try --device cpu") from None
        write_like(values[codes], volume.reference, place)
        yield place


def _places(options: PredictOptions) -> dict[Path, Path]:
    """Where the mask of every image goes: ``{stem}_seg`` with the image's own ending."""
    places: dict[Path, Path] = {}
    for image in options.images:
        stem = image_stem(image)
        place = options.output_dir / f"{stem}_seg{image.name[len(stem) :]}"
        other = next((known for known, taken in places.items() if taken == place), None)
        if other is not None:
            raise PredictionError(f"{image} and {other} would both be written to {place}")
        places[image] = place
    return places

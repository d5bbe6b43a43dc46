"""Rendered samples as volumes: slices of the set of label maps, or whole label maps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from synthspine.gen import draw, render
from synthspine.gen.config import config_to_json
from synthspine.gen.core.device import pick_device
from synthspine.shards.building.names import BANK
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.series_samples import SeriesSamples
from synthspine.shards.building.sets import ensure_sets, label_series
from synthspine.shards.building.synthetic_samples import SyntheticSamples
from synthspine.shards.readers.layouts import LAYOUTS
from synthspine.shards.readers.slices import resample_in_plane


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Case:
    """A rendered sample, ``(Z, H, W)``, and the id of the patient whose label map it shows.

    The image has values in [0, 1], the codes are dense, uint8.
    """

    patient: str
    image: np.ndarray
    codes: np.ndarray
    spacing_mm: tuple[float, float, float]


class Slices:
    """Samples of the set of label maps, which is made if it is missing; each is a volume of one slice.

    Refined labels tell posterior elements and the painted sacrum.
    """

    def __init__(self, options: ShardOptions, *, refined: bool) -> None:
        # Samples that are rendered together.
        self.step = options.render_batch
        self._samples = SyntheticSamples(ensure_sets([BANK], options)[BANK], options, refined=refined)
        config = options.generator()
        self._spacing_mm = (config.slice_spacing_mm, config.spacing_mm, config.spacing_mm)

    def identity(self) -> dict[str, Any]:
        """Everything that determines the samples."""
        return self._samples.identity()

    def render(self, start: int, stop: int) -> Iterator[Case]:
        """Samples ``start`` to ``stop`` (excluded); raises as ``SyntheticSamples.begin``."""
        for sample in self._samples.begin(start, stop)():
            assert sample.image is not None
            yield Case(
                patient=sample.record["patient"],
                image=sample.image[None],
                codes=sample.label[None],
                spacing_mm=self._spacing_mm,
            )


class Volumes:
    """Whole label maps of the training patients, in turn, on the pixels of the grid; all slices are kept.

    Refined is as for :class:`Slices`. Raises SpiderError if a folder cannot be read, or holds no mask of a
    training patient.
    """

    step = 1

    def __init__(self, options: ShardOptions, *, refined: bool) -> None:
        self._options = options
        self._refined = refined
        self._series = label_series(options)
        self._device = pick_device(options.device)

    def identity(self) -> dict[str, Any]:
        """Everything that determines the samples."""
        options = self._options
        return {
            "sources": SeriesSamples(self._series, False, options).identity()["sources"],
            "generator": config_to_json(options.generator()),
            "seed": options.seed,
            "synthetic_samples": options.synthetic_samples,
        }

    def render(self, start: int, stop: int) -> Iterator[Case]:
        """Samples ``start`` to ``stop`` (excluded).

        Raises:
            SpiderError: a mask cannot be read.
        """
        for index in range(start, stop):
            series = self._series[index % len(self._series)]
            mask = LAYOUTS[series.layout].read_mask(series)
            config = replace(self._options.generator(), slice_spacing_mm=mask.spacing_mm[0])
            mm = config.spacing_mm
            labels = resample_in_plane(mask.array, mask.spacing_mm[1:], mm, labels=True)
            bank = torch.from_numpy(labels[None]).to(self._device)
            with torch.inference_mode():
                params = draw(
                    config, self._options.seed, torch.tensor([index]), maps=1, dims=3, device=self._device
                )
                image, codes = render(bank, params, refined=self._refined)
            yield Case(
                patient=series.patient,
                image=image[0, 0].cpu().numpy(),
                codes=codes[0].cpu().numpy(),
                spacing_mm=(mask.spacing_mm[0], mm, mm),
            )


SOURCES: dict[int, type[Slices] | type[Volumes]] = {2: Slices, 3: Volumes}
"""The source of samples by their number of dimensions; a sample depends on options and number alone."""

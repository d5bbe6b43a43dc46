"""Samples from the generator: rendered from the label bank, each with the record it can be rendered from."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from gen import draw, render
from gen.config_text import config_hash, config_to_json
from gen.device import pick_device
from shards.options import ShardOptions
from shards.read import SampleArrays, open_set
from shards.sample import Sample, sample_key
from shards.workers import Workers

# Renders at once; a sample does not depend on it.
_BATCH = 16


class SyntheticSamples:
    """Samples ``0..N-1`` of the generator over a set of label maps.

    Args:
        labels: folder of the complete set of label maps.
        options: seed, number of samples, preset, grid and device.
    """

    left_out: tuple[dict[str, str], ...] = ()

    def __init__(self, labels: Path, options: ShardOptions) -> None:
        self._labels = open_set(labels)
        self._options = options
        self._config = options.generator()
        self._device = pick_device(options.device)

    def identity(self) -> dict[str, Any]:
        """Everything that determines the samples."""
        return {
            "grid": self._options.grid.to_json(),
            "label_bank": self._labels.manifest.label_digest,
            "generator": config_to_json(self._config),
            "generator_hash": config_hash(self._config),
            "seed": self._options.seed,
            "synthetic_samples": self._options.synthetic_samples,
        }

    def prepare(self, parts: Path, workers: Workers, title: str) -> None:
        """Nothing to prepare: any sample can be rendered alone."""

    def __len__(self) -> int:
        return self._options.synthetic_samples if len(self._labels) else 0

    def samples(self, start: int, stop: int) -> Iterator[Sample]:
        """Samples ``start`` to ``stop`` (excluded)."""
        for first in range(start, stop, _BATCH):
            yield from self._batch(first, min(first + _BATCH, stop))

    def _batch(self, start: int, stop: int) -> Iterator[Sample]:
        indices = torch.arange(start, stop, device=self._device)
        with torch.inference_mode():
            params = draw(
                self._config, self._options.seed, indices, maps=len(self._labels), device=self._device
            )
            image, codes = render(self._bank, params)
        images, labels = image[:, 0].half().cpu().numpy(), codes.cpu().numpy()
        maps = params.map_index.tolist()
        for place, drawn in enumerate(params.to_records()):
            origin = self._maps.records[maps[place]]
            record = {
                "index": start + place,
                "seed": self._options.seed,
                "source": origin["source"],
                "patient": origin["patient"],
                "slice": origin["slice"],
                "params": drawn,
            }
            yield Sample(sample_key(start + place), images[place], labels[place], record)

    @cached_property
    def _maps(self) -> SampleArrays:
        return self._labels.read()

    @cached_property
    def _bank(self) -> torch.Tensor:
        return torch.from_numpy(self._maps.labels).to(self._device)

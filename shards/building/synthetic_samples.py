"""Samples of the generator, rendered from the label bank; their records hold all drawn parameters."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from synthspine.gen import Params, draw, render
from synthspine.gen.config import config_hash, config_to_json
from synthspine.gen.core.device import pick_device, start_copy
from synthspine.gen.geometry.side_slices import map_odds, side_slices
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.workers import Workers, local_rank
from synthspine.shards.format.provenance import made_with
from synthspine.shards.format.sample import Sample, ShardError, sample_key
from synthspine.shards.reading.open import SampleArrays, open_set
from synthspine.shards.storage.place import Place


class SyntheticSamples:
    """Samples ``0..N-1`` of the generator over the complete set of label maps at ``labels``.

    Refined labels tell what only a target tells (``gen.geometry.refine``); not in sets, whose readers do it.
    """

    left_out: tuple[dict[str, str], ...] = ()

    def __init__(self, labels: Place, options: ShardOptions, *, refined: bool = False) -> None:
        self._labels = open_set(labels)
        self._options = options
        self._refined = refined
        self._config = options.generator()
        self._device = pick_device(options.device, local_rank())

    def identity(self) -> dict[str, Any]:
        """Everything that determines the samples."""
        return {
            "grid": self._options.grid.to_json(),
            "label_bank": self._labels.manifest.label_digest,
            "generator": config_to_json(self._config),
            "generator_hash": config_hash(self._config),
            "seed": self._options.seed,
            "side_share": self._options.side_share,
            "synthetic_samples": self._options.synthetic_samples,
        }

    def prepare(self, parts: Place, workers: Workers, title: str) -> None:
        """Nothing to prepare, because every sample is rendered independently."""

    def __len__(self) -> int:
        return self._options.synthetic_samples if len(self._labels) else 0

    def begin(self, start: int, stop: int) -> Callable[[], Iterable[Sample]]:
        """Start to render samples ``start`` to ``stop`` (excluded), asynchronously on a GPU.

        The returned function raises ShardError if an image holds NaN or values outside of [0, 1].
        """
        batches = [
            self._render(first, min(first + self._options.render_batch, stop))
            for first in range(start, stop, self._options.render_batch)
        ]
        return lambda: (sample for batch in batches for sample in batch())

    def _render(self, start: int, stop: int) -> Callable[[], Iterator[Sample]]:
        with torch.inference_mode():
            params = draw(self._config, self._options.seed, torch.arange(start, stop), maps=self.odds)
            image, codes = render(self.bank, params, refined=self._refined)
            stored = image[:, 0].half()
            sound = ((stored >= 0) & (stored <= 1)).flatten(1).all(dim=1)
            batch = start_copy(stored), start_copy(codes), params, start_copy(sound)
        arrived = None
        if self._device.type == "cuda":
            arrived = torch.cuda.Event()
            arrived.record(torch.cuda.current_stream(self._device))
        return partial(self._samples, start, *batch, arrived)

    def _samples(
        self,
        start: int,
        image: Tensor,
        codes: Tensor,
        params: Params,
        sound: Tensor,
        arrived: torch.cuda.Event | None,
    ) -> Iterator[Sample]:
        if arrived is not None:
            arrived.synchronize()
        if wrong := [start + place for place, good in enumerate(sound.tolist()) if not good]:
            hint = f"use another configuration than {self._options.preset}"
            raise ShardError(
                f"synthetic sample {sample_key(wrong[0])}: rendered values are not in [0, 1]; {hint}"
            )
        images, labels, maps = image.numpy(), codes.numpy(), params.map_index.tolist()
        for place, drawn in enumerate(params.to_records()):
            origin = {name: self.maps.records[maps[place]][name] for name in ("source", "patient", "slice")}
            record = {"index": start + place, "seed": self._options.seed, **origin, "params": drawn}
            yield Sample(sample_key(start + place), images[place], labels[place], record)

    def made_with(self) -> dict[str, str]:
        """Versions and device, on which the last bits of rendered images depend."""
        device = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "cpu"
        return made_with() | {"device": device}

    @cached_property
    def maps(self) -> SampleArrays:
        """The label maps."""
        return self._labels.read()

    @cached_property
    def bank(self) -> Tensor:
        """The label maps on the device, dense codes, uint8, shape ``(N, H, W)``."""
        return torch.from_numpy(self.maps.labels).to(self._device)

    @cached_property
    def odds(self) -> Tensor:
        """How likely every label map is drawn, see :func:`map_odds`."""
        return map_odds(side_slices(self.bank, self._config.spacing_mm).cpu(), self._options.side_share)

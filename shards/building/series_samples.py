"""Samples from series: slices are first written to one *part* per series, and then cut into shards.

The number of slices of a series is known only after its mask is read, and all shards but the last hold
equally many. The parts are kept in the staging folder, so a killed run continues at the first missing part.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synthspine.gen.core.documents import MOST_BYTES, UnfitFile
from synthspine.progress import progress_bar
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.workers import Workers
from synthspine.shards.format.manifest import MOST_SHARD_BYTES
from synthspine.shards.format.provenance import made_with
from synthspine.shards.format.sample import Sample, ShardError, sample_key, to_json
from synthspine.shards.format.sealed import read_sealed, sealed
from synthspine.shards.format.tar import unpack, write_shard
from synthspine.shards.readers.folder import Series, SpiderError
from synthspine.shards.readers.layouts import LAYOUTS, SPIDER
from synthspine.shards.readers.slices import chosen_slices, image_slices, label_slices
from synthspine.shards.readers.spider import check_pair
from synthspine.shards.storage.cache import WrongContent, checked_content
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.place import Place

# Size and both ends identify a compressed file, because its checksum is at its end.
_ENDS_BYTES = 1 << 16


class SeriesSamples:
    """The slices of some series, one after the other, in their order.

    All series have a mask, and an image if ``images`` is true.
    """

    def __init__(self, series: Sequence[Series], images: bool, options: ShardOptions) -> None:
        self._series = series
        self._images = images
        self._options = options
        self._parts = open_place(Path())
        self._first = [0]
        self._made: dict[str, dict[str, Any]] = {}
        self._last_read: tuple[int, list[Sample]] = (-1, [])
        self.left_out: list[dict[str, str]] = []

    def identity(self) -> dict[str, Any]:
        """Everything that determines the samples."""
        return {
            "sources": [self._source(series) for series in self._series],
            "images": self._images,
            "grid": self._options.grid.to_json(),
            "slice_step_mm": self._options.slice_step_mm,
            # Least area of vertebrae and canal; None where slices without any are kept.
            "least_area_cm2": 0.0 if self._images else None,
        }

    def _source(self, series: Series) -> dict[str, Any]:
        files: dict[str, Any] = {
            "source": series.stem,
            "mask": fingerprint(series.mask),
            "image": fingerprint(series.image) if self._images else None,
        }
        if series.spacing_mm is not None:
            files["spacing_mm"] = list(series.spacing_mm)
        if series.layout != SPIDER.name:
            files |= {"layout": series.layout, "also": [fingerprint(path) for path in series.also]}
        return files

    def made_with(self) -> dict[str, str]:
        """Versions on which the values of resampled slices depend."""
        return made_with()

    def prepare(self, parts: Place, workers: Workers, title: str) -> None:
        """Write this worker's parts; afterwards the number of samples is known.

        Raises:
            SpiderError: a series cannot be read, unless unreadable ones are left out.
        """
        self._parts = parts
        mine = workers.share(self._series)
        made = {}
        for series in progress_bar(mine, desc=title, unit="series", disable=not workers.is_main or not mine):
            made[series.stem] = self._make_part(series)
        self._made = {stem: part for others in workers.gather(made) for stem, part in others.items()}
        for series in self._series:
            part = self._made[series.stem]
            self._first.append(self._first[-1] + part["samples"])
            if part["reason"] is not None:
                self.left_out.append({"source": series.stem, "reason": part["reason"]})
        if self._series and not self._images and not len(self):
            reason = self.left_out[0]["reason"] if self.left_out else "no slice"
            found = f"none of {len(self._series)} label maps can be used ({self._series[0].stem}: {reason})"
            raise SpiderError(self._series[0].mask or title, found)

    def __len__(self) -> int:
        return self._first[-1]

    def begin(self, start: int, stop: int) -> Callable[[], Iterable[Sample]]:
        """Samples ``start`` to ``stop`` (excluded) of all parts together."""
        samples = list(self._samples(start, stop))
        return lambda: samples

    def _samples(self, start: int, stop: int) -> Iterator[Sample]:
        series = int(np.searchsorted(self._first, start, side="right")) - 1
        for index in range(start, stop):
            while index >= self._first[series + 1]:
                series += 1
            part = self._read_part(series)[index - self._first[series]]
            yield Sample(sample_key(index), part.image, part.label, part.record)

    def _read_part(self, series: int) -> list[Sample]:
        if self._last_read[0] != series:
            entry = self._series[series]
            try:
                content = self._part_content(entry, self._made[entry.stem])
            except (FileNotFoundError, UnfitFile, WrongContent) as error:
                # Without its summary, the next run writes the part again.
                self._parts.remove(f"{entry.stem}.json")
                text = f"{self._parts / f'{entry.stem}.tar'}: damaged ({error}); run again to write it anew"
                raise ShardError(text) from None
            self._last_read = (series, list(unpack(content)))
        return self._last_read[1]

    def _make_part(self, series: Series) -> dict[str, Any]:
        """Summary of the part of a series; the part is written unless a killed run wrote it."""
        summary = f"{series.stem}.json"
        if self._parts.size(summary) is not None:
            try:
                made = read_sealed(self._parts.read(summary, MOST_BYTES))
                # A series that could not be read is tried again.
                if made["reason"] is None:
                    self._check_part(series, made)
                    return made
            except (OSError, ValueError, KeyError, TypeError) as error:
                found = f"left by a killed run, and does not check out ({error})"
                print(f"{self._parts / summary}: {found}; written again", flush=True)
        made = {"samples": 0, "reason": None}
        try:
            packed = write_shard(self._parts, f"{series.stem}.tar", self._slices(series))
            made |= {
                "samples": len(packed.label_digests),
                "part_bytes": len(packed.content),
                "part_sha256": packed.sha256,
            }
            if not packed.label_digests:
                made["reason"] = "no slice holds vertebrae and canal"
        except SpiderError as error:
            if not self._options.skip_bad:
                raise
            made["reason"] = f"{error.path.name}: {error.reason}"
        self._parts.write(summary, to_json(sealed(made)).encode())
        return made

    def _check_part(self, series: Series, made: dict[str, Any]) -> None:
        """Raise an error if a part is not the one that its summary describes."""
        samples = list(unpack(self._part_content(series, made)))
        if type(made["samples"]) is not int or len(samples) != made["samples"]:
            raise ValueError(f"it names {made['samples']} samples, the part holds {len(samples)}")
        if any(sample.record["source"] != series.stem for sample in samples):
            raise ValueError("the part is that of another series")

    def _part_content(self, series: Series, made: dict[str, Any]) -> bytes:
        size = min(made["part_bytes"], MOST_SHARD_BYTES)
        return checked_content(self._parts.read(f"{series.stem}.tar", size), made["part_sha256"], size)

    def _slices(self, series: Series) -> Iterator[Sample]:
        assert series.mask is not None
        layout = LAYOUTS[series.layout]
        mask = layout.read_mask(series)
        image = None
        if self._images and series.image is not None:
            image = layout.read_image(series)
            if remark := check_pair(image, mask, series.mask):
                print(f"{series.mask}: {remark}", flush=True)
        # Evaluation needs annotated slices; a network also learns what is not spine.
        indices = chosen_slices(
            mask.array, mask.spacing_mm, self._options.slice_step_mm, beside=not self._images
        )
        labels = label_slices(mask, self._options.grid, indices)
        images = None
        if image is not None:
            images = image_slices(image, self._options.grid, indices).astype(np.float16)
        if images is not None and not ((images >= 0) & (images <= 1)).all():
            # Finite values may still be too far apart.
            assert series.image is not None
            raise SpiderError(series.image, "its values are too far apart to be scaled to [0, 1]")
        for place, index in enumerate(indices):
            record = {
                "source": series.stem,
                "patient": series.patient,
                "contrast": series.contrast,
                "slice": index,
                "slices": len(mask.array),
                "spacing_mm": [round(value, 6) for value in mask.spacing_mm],
            }
            picture = None if images is None else images[place]
            yield Sample(sample_key(place), picture, labels[place], record)


def fingerprint(path: Path | None) -> str | None:
    """SHA-256 that identifies the content of a file, None for no file.

    It covers the size and both ends of a compressed file, and the whole of any other file.
    """
    if path is None:
        return None
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        start = file.read(_ENDS_BYTES)
        digest.update(start)
        if path.name.endswith(".gz") or re.search(rb"CompressedData *= *True", start):
            file.seek(max(0, size - _ENDS_BYTES))
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

"""Everything that the study learns from and measures, in memory: label maps and real slices by patient."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.reality_patients import own_masks
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.sets import LABELS_VAL, VALIDATION_IMAGES, ensure_sets
from synthspine.shards.format.sample import to_json
from synthspine.shards.readers.folder import patient_key
from synthspine.shards.readers.phantom import FIRST_LABELS_PATIENT, write_phantom
from synthspine.shards.readers.slices import Grid
from synthspine.shards.readers.split import PARTS, Split, load_or_make_split
from synthspine.shards.reading.open import SampleArrays, open_set
from synthspine.shards.storage.atomic import write_text

CONTRASTS = ("t1", "t2")
"""Contrasts that are measured, as SPIDER's file names have them."""
_SETS = (LABELS_VAL, *(VALIDATION_IMAGES[contrast] for contrast in CONTRASTS))


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the data lie, and where what is made of them goes."""

    data_dir: Path | None = None
    """Folder in SPIDER layout with images and masks; default: pairs and labels in the folder $SPIDER_MINI."""
    labels_dir: Path | None = None
    """Folder in SPIDER layout with the masks of Model A; default: the data folder."""
    split: Path = Path("benchmarks/spider_mini_split.json")
    """JSON file with the patients of train, validation and test."""
    work_dir: Path = Path("scratch/reality_gap")
    """Folder for slices and checkpoints; git does not see it."""
    phantom_dir: Path = Path("scratch/phantom_labels")
    """Folder of the phantom's label maps that A0 learns from; written where they are missing."""
    phantom_patients: int = 168
    """Patients of that phantom."""
    grid: Grid = field(default_factory=Grid)

    def folders(self) -> tuple[Path, Path | None]:
        """Folder of the images, and of the label maps if it is another.

        Raises:
            ValueError: none is named.
        """
        if self.data_dir is not None:
            return self.data_dir, self.labels_dir
        mini = os.environ.get("SPIDER_MINI")
        if not mini:
            raise ValueError("--data-dir is not given, and SPIDER_MINI names no folder")
        return Path(mini) / "pairs", self.labels_dir or Path(mini) / "labels"


def select(arrays: SampleArrays, patients: Iterable[str]) -> SampleArrays:
    """The slices of some patients, in stored order."""
    wanted = frozenset(patients)
    return take(arrays, [i for i, record in enumerate(arrays.records) if str(record["patient"]) in wanted])


def take(arrays: SampleArrays, indices: list[int]) -> SampleArrays:
    """The slices at some places, in that order."""
    images = None if arrays.images is None else arrays.images[indices]
    return SampleArrays(images, arrays.labels[indices], [arrays.records[i] for i in indices])


def join(first: SampleArrays, second: SampleArrays) -> SampleArrays:
    """The slices of two sets with images."""
    assert first.images is not None and second.images is not None
    return SampleArrays(
        np.concatenate((first.images, second.images)),
        np.concatenate((first.labels, second.labels)),
        first.records + second.records,
    )


class Slices:
    """The slices of all patients that are not test patients; a fold is a choice of them.

    Training and validation patients of the split lie in the same sets here, since folds mix them: sets
    are made with a split file in which all of them are validation patients. Test patients are read from
    nowhere.

    Args:
        places: where the data lie.

    Attributes:
        split: the patients of the split file.
        maps: label maps of whole volumes.
        real: real slices by contrast.
        own: series that carry their own mask.

    Raises:
        ValueError: there is no data folder, or a folder or set cannot be used.
    """

    def __init__(self, places: Places) -> None:
        data_dir, labels_dir = places.folders()
        if not places.split.is_file():
            raise ValueError(f"{places.split}: no such split file")
        self._places = places
        self.split = load_or_make_split(places.split, ())
        known = self.split.train | self.split.validation
        sets = self._read(data_dir, labels_dir, "sets", known, self.split.test)
        self.maps = select(sets[LABELS_VAL], known)
        self.real = {contrast: select(sets[VALIDATION_IMAGES[contrast]], known) for contrast in CONTRASTS}
        self.own = own_masks(data_dir, labels_dir)

    @property
    def spacing_mm(self) -> float:
        """Pixel size of all slices."""
        return self._places.grid.spacing_mm

    @property
    def with_images(self) -> frozenset[str]:
        """Patients who have a real slice."""
        return frozenset(str(record["patient"]) for arrays in self.real.values() for record in arrays.records)

    @cached_property
    def phantom(self) -> SampleArrays:
        """Label maps of the phantom; they are written where they are missing."""
        places = self._places
        write_phantom(places.phantom_dir, places.phantom_patients, images=False)
        patients = [str(FIRST_LABELS_PATIENT + index) for index in range(places.phantom_patients)]
        sets = self._read(
            places.phantom_dir, None, "phantom", frozenset(patients), frozenset(), (LABELS_VAL,)
        )
        return select(sets[LABELS_VAL], patients)

    def _read(
        self,
        data_dir: Path,
        labels_dir: Path | None,
        name: str,
        known: frozenset[str],
        left_out: frozenset[str],
        wanted: tuple[str, ...] = _SETS,
    ) -> dict[str, SampleArrays]:
        folder = self._places.work_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        sides = Split(train=frozenset(), validation=known, test=left_out)
        lists = {part: sorted(sides.part(part), key=patient_key) for part in PARTS}
        text = to_json(lists) + "\n"
        file = folder / "all_validation.json"
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            write_text(file, text)
        options = ShardOptions(
            data_dir=data_dir,
            labels_dir=labels_dir,
            shards_dir=str(folder),
            split=file,
            grid=self._places.grid,
        )
        places = ensure_sets(wanted, options)
        return {entry: open_set(places[entry]).read() for entry in wanted}

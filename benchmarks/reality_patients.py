"""Who is learned from and who is measured: the fixed split, or folds over all patients that are not test.

A series' mask may be another's: in spider-mini, 16 of the 38 pairs carry the mask of the same patient's other
contrast, so what moved between the scans counts as an error of the network. Which those are can be told from
the label maps' folder: it holds the full mask of every series that was annotated, under the series' name.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from synthspine.shards.readers.folder import find_series, patient_key
from synthspine.shards.readers.split import Split

FIXED, ALL = "fixed", "all"
"""What a flag may say instead of numbers of folds: the split file, or every fold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """A choice of patients.

    Attributes:
        name: ``"fixed"``, or ``"0/4"`` for the first of four.
        train: who is learned from.
        validation: who is measured.
    """

    name: str
    train: frozenset[str]
    validation: frozenset[str]

    def __post_init__(self) -> None:
        if both := sorted(self.train & self.validation, key=patient_key):
            raise ValueError(f"fold {self.name}: patient {', '.join(both)} is on both sides")


def make_folds(split: Split, with_images: frozenset[str], count: int) -> list[Fold]:
    """Folds in which every patient with images who is not a test patient is measured once.

    The patients are dealt in the order of a hash of their ids, so the same folder gives the same folds.
    Those without images, whose label maps are all there is, are learned from in every fold.

    Args:
        split: its test patients are in no fold.
        with_images: patients who can be measured.
        count: number of folds.

    Raises:
        ValueError: less than two folds, or more than patients.
    """
    known = split.train | split.validation
    dealt = sorted(known & with_images, key=_order)
    if not 2 <= count <= len(dealt):
        raise ValueError(f"{count} folds of {len(dealt)} patients: 2 to {len(dealt)} are possible")
    return [
        Fold(
            name=f"{index}/{count}",
            train=known - frozenset(dealt[index::count]),
            validation=frozenset(dealt[index::count]),
        )
        for index in range(count)
    ]


def fold_numbers(text: str, count: int) -> list[int]:
    """Numbers of the folds that a flag names; none for ``"fixed"``, which is no fold of a set of folds.

    Args:
        text: ``"fixed"``, ``"all"``, or numbers such as ``"0,2"``.
        count: number of folds.

    Raises:
        ValueError: no such fold.
    """
    if text == FIXED:
        return []
    if text == ALL:
        return list(range(count))
    numbers = [entry.strip() for entry in text.split(",")]
    if not all(number.isdecimal() and int(number) < count for number in numbers):
        raise ValueError(f"--fold {text!r}: want {FIXED}, {ALL}, or numbers from 0 to {count - 1}")
    return [int(number) for number in numbers]


def choose_folds(text: str, split: Split, with_images: frozenset[str], count: int) -> list[Fold]:
    """The folds that a flag names.

    Args:
        text: ``"fixed"`` for the split file, ``"all"``, or numbers of folds such as ``"0,2"``.
        split: the patients.
        with_images: patients who can be measured.
        count: number of folds.

    Raises:
        ValueError: no such fold, or more folds than patients.
    """
    if text == FIXED:
        return [Fold(name=FIXED, train=split.train, validation=split.validation & with_images)]
    folds = make_folds(split, with_images, count)
    return [folds[number] for number in fold_numbers(text, count)]


def own_masks(data_dir: Path, labels_dir: Path | None) -> frozenset[str]:
    """Series of the data folder whose mask is their own (see the head of this file).

    Args:
        data_dir: folder with images and masks.
        labels_dir: folder with the masks that were annotated; None where the data's own masks are all.

    Raises:
        SpiderError: a folder cannot be read.
    """
    series = {entry.stem for entry in find_series(data_dir) if entry.mask is not None}
    if labels_dir is None:
        return frozenset(series)
    return frozenset(series & {entry.stem for entry in find_series(labels_dir) if entry.mask is not None})


def _order(patient: str) -> str:
    return hashlib.sha256(f"fold:{patient}".encode()).hexdigest()

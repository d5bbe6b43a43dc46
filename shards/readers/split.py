"""The split of patients into train, validation and test: one file for images and label maps."""

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from synthspine.shards.readers.folder import SpiderError, patient_key
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.place import Place

PARTS = ("train", "validation", "test")
OVERVIEW = "overview.csv"

# Shares of the patients without another assignment.
VALIDATION_SHARE = 0.2
TEST_SHARE = 0.1

_SUBSETS = {part: part for part in PARTS} | {"training": "train", "testing": "test"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Patient ids of the three parts; no patient is in two."""

    train: frozenset[str]
    validation: frozenset[str]
    test: frozenset[str]

    def __post_init__(self) -> None:
        total = self.train | self.validation | self.test
        if len(total) != len(self.train) + len(self.validation) + len(self.test):
            twice = sorted(p for p in total if sum(p in self.part(name) for name in PARTS) > 1)
            raise ValueError(f"patient {', '.join(twice)} is in two parts")

    def part(self, name: str) -> frozenset[str]:
        """Patients of ``"train"``, ``"validation"`` or ``"test"``."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


def load_or_make_split(
    file: Path | str, patients: Iterable[str], overview: Path | None = None, seed: int = 0
) -> Split:
    """The split of a file, which is written if it does not exist.

    A new split follows the ``subset`` column of SPIDER's ``overview.csv``, if there is one. Other patients
    are ordered by a hash of their id and cut 70 / 20 / 10, without empty parts from three patients on.
    Patients that an existing file lacks are assigned by the overview or the hash and added to the file.

    Args:
        file: path or URL of a JSON file ``{"train": [...], "validation": [...], "test": [...]}``.
        patients: the patients to assign.
        overview: SPIDER's ``overview.csv``; ignored if it does not exist.
        seed: changes the hash.

    Raises:
        SpiderError: the file or the overview is malformed.
    """
    needed = sorted(set(patients), key=patient_key)
    at, _, name = str(file).rpartition("/")
    folder = open_place(at) if "://" in at else open_place(Path(file).parent)
    exists = folder.size(name) is not None
    if exists:
        known = _load(folder, name)
        assigned = {patient: name for name in PARTS for patient in known.part(name)}
    else:
        assigned = _subsets(overview, needed)
        assigned |= _cut([patient for patient in needed if patient not in assigned], seed)
    unknown = [patient for patient in needed if patient not in assigned]
    assigned |= {patient: _part_of(patient, seed) for patient in unknown} | _subsets(overview, unknown)
    split = Split(**{name: frozenset(p for p in assigned if assigned[p] == name) for name in PARTS})
    if unknown or not exists:
        lists = {name: sorted(split.part(name), key=patient_key) for name in PARTS}
        folder.write(name, (json.dumps(lists, indent=1) + "\n").encode())
    return split


def _load(folder: Place, name: str) -> Split:
    try:
        lists = json.loads(folder.read(name))
        if not isinstance(lists, dict) or lists.keys() - set(PARTS) or "train" not in lists:
            raise ValueError('expected {"train": [...], "validation": [...], "test": [...]}')
        parts = {}
        for part in PARTS:
            ids = lists.get(part, [])
            if not isinstance(ids, list) or not all(isinstance(i, str | int) for i in ids):
                raise ValueError(f'"{part}" must be a list of patient ids')
            parts[part] = frozenset(str(i) for i in ids)
        return Split(**parts)
    except ValueError as error:
        raise SpiderError(str(folder / name), f"not a split file: {error}") from None


def _subsets(overview: Path | None, patients: list[str]) -> dict[str, str]:
    if overview is None or not overview.is_file():
        return {}
    with overview.open(newline="", encoding="utf-8-sig") as file:
        first_line = file.readline()
        file.seek(0)
        delimiter = max(",;", key=first_line.count)
        rows = list(csv.DictReader(file, delimiter=delimiter))
    if not rows or "subset" not in rows[0]:
        return {}
    assigned: dict[str, str] = {}
    for row in rows:
        # The first column names the series, "7_t1"; its heading differs between releases.
        patient = next(iter(row.values())).partition("_")[0].strip()
        subset = (row["subset"] or "").strip().lower()
        if patient not in patients or not subset:
            continue
        if subset not in _SUBSETS:
            raise SpiderError(overview, f"subset {subset!r} is not one of {', '.join(_SUBSETS)}")
        if assigned.setdefault(patient, _SUBSETS[subset]) != _SUBSETS[subset]:
            raise SpiderError(overview, f"patient {patient} is in two subsets")
    return assigned


def _cut(patients: list[str], seed: int) -> dict[str, str]:
    """Parts by exact shares, in the order of the hash."""
    ordered = sorted(patients, key=lambda patient: _fraction(patient, seed))
    count = len(ordered)
    few = 1 if count >= 3 else 0
    test = max(few, round(TEST_SHARE * count))
    validation = max(few, round(VALIDATION_SHARE * count))
    names = ["test"] * test + ["validation"] * validation + ["train"] * (count - test - validation)
    return dict(zip(ordered, names, strict=True))


def _part_of(patient: str, seed: int) -> str:
    fraction = _fraction(patient, seed)
    if fraction < TEST_SHARE:
        return "test"
    return "validation" if fraction < TEST_SHARE + VALIDATION_SHARE else "train"


def _fraction(patient: str, seed: int) -> float:
    """A number in [0, 1) that depends on the id and the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{patient}".encode()).digest()[:6], "big") / 2**48

"""The split of patients into train, validation and test: one file for images and label maps."""

import csv
import hashlib
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from synthspine.gen.core.documents import MOST_BYTES, UnfitFile, parse_json, read_text
from synthspine.shards.readers.folder import SpiderError, patient_key
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.place import Place

PARTS = ("train", "validation", "test")
OVERVIEW = "overview.csv"
SUBSET = "subset"

# Shares of the patients without another assignment.
VALIDATION_SHARE = 0.2
TEST_SHARE = 0.1

_PREFIXES = ("sub", "subj", "subject", "pat", "patient", "case", "p", "s")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_CONTRAST = re.compile(r"_(t1|t2|t2_space)(\..*)?$")
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
    file: Path | str,
    patients: Iterable[str],
    overview: Path | None = None,
    seed: int = 0,
) -> Split:
    """The split that this project keeps in a file, which is written if it does not exist.

    A new split follows the ``subset`` column of SPIDER's ``overview.csv``, if there is one. Other patients
    are ordered by a hash of their id and the seed and cut 70 / 20 / 10, without empty parts from three
    patients on. Patients that an existing file lacks are assigned by the overview or the hash and added to
    the file, which is told in a line. The file, a path or URL, is JSON:
    ``{"train": [...], "validation": [...], "test": [...]}``.

    Raises:
        SpiderError: the file or the overview is malformed, or spells an id in another way than the data.
        OSError: one of them cannot be read or written.
    """
    needed = sorted(set(patients), key=patient_key)
    at, _, name = str(file).rpartition("/")
    folder = open_place(at) if "://" in at else open_place(Path(file).parent)
    exists = folder.size(name) is not None
    if exists:
        known = _load(folder, name)
        assigned = {patient: name for name in PARTS for patient in known.part(name)}
        unknown = [patient for patient in needed if patient not in assigned]
        _check_spelling(folder / name, assigned, unknown)
        added = {patient: _part_of(patient, seed) for patient in unknown}
        if unknown:
            added |= _subsets(overview, unknown)
            print(
                f"{folder / name}: new patients: {', '.join(f'{p} in {part}' for p, part in added.items())}"
            )
        assigned |= added
    else:
        assigned = _subsets(overview, needed)
        if overview is not None and not assigned and needed and _names_subsets(overview):
            raise SpiderError(overview, f"names none of the patients {_listed(needed)}")
        unknown = [patient for patient in needed if patient not in assigned]
        assigned |= _cut(unknown, seed)
    split = Split(**{name: frozenset(p for p in assigned if assigned[p] == name) for name in PARTS})
    if unknown or not exists:
        lists = {name: sorted(split.part(name), key=patient_key) for name in PARTS}
        folder.write(name, (json.dumps(lists, indent=1) + "\n").encode())
    return split


def load_split(
    file: Path,
    patients: Iterable[str],
    *,
    made: Iterable[str] = (),
    seed: int = 0,
    strict: bool = False,
) -> Split:
    """The split of a file that the user gives; the file is never written.

    Args:
        file: JSON ``{"train": [...], "validation": [...], "test": [...]}``.
        patients: the patients of the data. Those that no part names are in no part.
        made: patients that the phantom adds; those that no part names are assigned by a hash of their id.
        seed: changes the hash.
        strict: whether patients that no part names are an error; else they are said in a line.

    Raises:
        SpiderError: no such file, not a split, one that names no patient or spells an id in another way than
            the data, or with ``strict`` one that leaves out a patient.
        OSError: it cannot be read.
    """
    if not os.path.lexists(file):
        raise SpiderError(file, "no such file; without a split file a new split is made in the shards folder")
    given = _load(open_place(file.parent), file.name)
    named = frozenset().union(*map(given.part, PARTS))
    needed, added = set(patients), set(made)
    _check_spelling(file, named, needed | added)
    if needed and not named & (needed | added):
        data, those = _listed(needed), _listed(named) or "none"
        raise SpiderError(file, f"names none of the patients of the data ({data}), but {those}")
    if missing := needed - named - added:
        text = f"no part names the patients {_listed(missing)} ({len(missing)} of {len(needed | added)})"
        if strict:
            raise SpiderError(file, f"{text}; name them, or allow it by leaving out --strict")
        print(f"{file}: {text}: they are in no set")
    parts = {name: set(given.part(name)) for name in PARTS}
    for patient in added - named:
        parts[_part_of(patient, seed)].add(patient)
    return Split(**{name: frozenset(ids) for name, ids in parts.items()})


def _load(folder: Place, name: str) -> Split:
    try:
        lists = parse_json(folder.read(name, MOST_BYTES), by_hand=True)
        if not isinstance(lists, dict) or lists.keys() - set(PARTS) or "train" not in lists:
            raise ValueError('expected {"train": [...], "validation": [...], "test": [...]}')
        parts = {}
        for part in PARTS:
            ids = lists.get(part, [])
            if not isinstance(ids, list) or not all(type(i) in (str, int) for i in ids):
                raise ValueError(f'"{part}" must be a list of patient ids')
            parts[part] = frozenset(str(i) for i in ids)
        return Split(**parts)
    except ValueError as error:
        raise SpiderError(str(folder / name), f"not a split file: {error}") from None


def _check_spelling(where: Path | Place, named: Iterable[str], patients: Iterable[str]) -> None:
    """Refuse ids that are those of patients in another spelling: ``sub-3`` or ``003`` for ``3``."""
    own = set(patients)
    spelled = {_plain_id(patient): patient for patient in sorted(own, key=patient_key)}
    others = sorted(set(named) - own, key=patient_key)
    pairs = [
        f'"{other}" for "{spelled[_plain_id(other)]}"' for other in others if _plain_id(other) in spelled
    ]
    if pairs:
        text = f"spells patients in another way than the data: {_listed(pairs)}"
        raise SpiderError(str(where), f"{text}; write the ids as the data do")


def _plain_id(patient: str) -> tuple[str, ...]:
    """What is left of an id without prefix, leading zeros, case, signs and the contrast of a file name."""
    text = unicodedata.normalize("NFKC", patient).strip().casefold()
    words = [word.lstrip("0") or "0" for word in _WORD.findall(_CONTRAST.sub("", text))]
    return tuple(words[1:] if len(words) > 1 and words[0] in _PREFIXES else words)


def _listed(names: Iterable[str], most: int = 8) -> str:
    ordered = sorted(names, key=patient_key)
    return ", ".join(ordered[:most]) + (", ..." if len(ordered) > most else "")


def _subsets(overview: Path | None, patients: list[str]) -> dict[str, str]:
    """The part of each patient that the overview names; none if it has no column of subsets."""
    if overview is None:
        return {}
    assigned: dict[str, str] = {}
    others = set()
    for row in _rows(overview):
        subset = (row.get(SUBSET) or "").strip().lower()
        # The first column names the series, "7_t1"; its heading differs between releases.
        patient = (next(iter(row.values())) or "").partition("_")[0].strip()
        if not subset:
            continue
        if patient not in patients:
            others.add(patient)
            continue
        if subset not in _SUBSETS:
            raise SpiderError(overview, f"subset {subset!r} is not one of {', '.join(_SUBSETS)}")
        if assigned.setdefault(patient, _SUBSETS[subset]) != _SUBSETS[subset]:
            raise SpiderError(overview, f"patient {patient} is in two subsets")
    _check_spelling(overview, others, [patient for patient in patients if patient not in assigned])
    return assigned


def _names_subsets(overview: Path) -> bool:
    return any(row.get(SUBSET) for row in _rows(overview))


def _rows(overview: Path) -> list[dict[str, str]]:
    """The rows of an overview by the names of its columns, in lower case.

    Raises:
        SpiderError: it cannot be read as such a table.
        OSError: it cannot be read.
    """
    try:
        text = read_text(overview)
    except UnfitFile as error:
        raise SpiderError(overview, str(error)) from None
    except ValueError:
        text = "\0"
    if "\0" in text:
        raise SpiderError(overview, "is not text in UTF-8; save it as UTF-8, not as cp1252 or UTF-16")
    header, _, below = text.partition("\n")
    delimiter = max(",;", key=header.count)
    try:
        names = [name.strip().casefold() for name in next(csv.reader([header], delimiter=delimiter), [])]
        rows = list(csv.DictReader(io.StringIO(below, newline=""), names, delimiter=delimiter))
    except csv.Error as error:
        raise SpiderError(overview, f"is not a table: {error}") from None
    if "\t" in header or (SUBSET in header.casefold() and SUBSET not in names):
        raise SpiderError(overview, "its columns are not separated by commas or semicolons")
    if not rows:
        raise SpiderError(overview, "holds no row below its header")
    return rows


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

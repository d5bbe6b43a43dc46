"""Reading DICOM files: datasets, their values, and the values of functional groups."""

import warnings
from collections.abc import Container
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue

from synthspine.shards.readers.folder import SpiderError, reason_of


def read_dataset(path: Path, defer_size: int | None = None) -> Dataset:
    """The content of a DICOM file, without values of more than ``defer_size`` bytes.

    Raises SpiderError if it cannot be read, with the reason.
    """
    try:
        # A file that ends too early is read up to there, with a warning.
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            dataset = dcmread(path, defer_size=defer_size, force=True)
    except MemoryError:
        raise
    except Exception as error:
        raise SpiderError(path, f"is not a DICOM image that can be read: {reason_of(error)}") from None
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    return dataset


def text_of(dataset: Dataset, name: str) -> str:
    """A value as text, several joined by backslashes; empty where there is none."""
    return joined(value_of(dataset, name))


def value_of(dataset: Dataset, name: str) -> Any:
    """A value; where it cannot be understood, its text."""
    if name not in dataset:
        return None
    try:
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            return dataset[name].value
    except Exception:
        raw = dataset.get_item(name)
        found = getattr(raw, "value", None)
        return found.decode("latin-1") if isinstance(found, bytes) else str(found)


def joined(value: Any) -> str:
    """A value as text, several joined by backslashes; empty for None."""
    if value is None:
        return ""
    if isinstance(value, MultiValue | list | tuple):
        return "\\".join(joined(entry) for entry in value)
    return str(value).strip(" \0\n\r\t")


def items_of(dataset: Dataset, name: str) -> list[Dataset]:
    """Items of a sequence; none where there is none."""
    found = value_of(dataset, name)
    return [item for item in found or () if isinstance(item, Dataset)] if not isinstance(found, str) else []


def collect(group: Dataset, values: dict[str, Any], names: Container[str]) -> None:
    """Add the values of some names that functional groups hold, those of nested sequences included."""
    for tag in group.keys():  # noqa: SIM118
        name = keyword_for_tag(tag)
        if name in names:
            values.setdefault(name, value_of(group, name))
        elif name and dictionary_VR(tag) == "SQ":
            for item in items_of(group, name):
                collect(item, values, names)

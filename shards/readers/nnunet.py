"""Layout of nnU-Net raw datasets, version 2.

``dataset.json`` names the labels, the channels and the file ending; ``imagesTr/CASE_0000.nii.gz`` holds the
first channel of a case, ``labelsTr/CASE.nii.gz`` its mask. The names of labels are those of ``LabelTable``;
the optional file ``synthspine_labels.json`` beside ``dataset.json`` maps other names to them or to
``"ignore"``.

Source: MIC-DKFZ/nnUNet, documentation/dataset_format.md and documentation/ignore_label.md.
"""

import re
from pathlib import Path
from typing import Any

from synthspine.gen.core.documents import MOST_BYTES, parse_json, read_regular
from synthspine.shards.readers.base import Layout, OnError, contrast_of, patient_of, report
from synthspine.shards.readers.folder import Series, SpiderError
from synthspine.shards.readers.labels import LabelTable
from synthspine.shards.readers.spider import Volume, read_mask
from synthspine.shards.volumes.files import EXPECTED, SUFFIXES

DESCRIPTION, NAMES = "dataset.json", "synthspine_labels.json"
IMAGES, MASKS = "imagesTr", "labelsTr"

_CASE_CHANNEL = re.compile(r"(.+)_(\d{4})")


def label_table(folder: Path) -> LabelTable:
    """The labels of ``dataset.json``, with other names replaced by ``synthspine_labels.json``.

    Raises:
        SpiderError: a malformed file, a region instead of a label, or names that make no ``LabelTable``.
    """
    labels = _entry(_json(folder / DESCRIPTION), "labels", folder / DESCRIPTION)
    others = _json(folder / NAMES) if (folder / NAMES).is_file() else {}
    if unknown := others.keys() - labels.keys():
        raise SpiderError(folder / NAMES, f"{sorted(unknown)[0]!r} is not a label of {DESCRIPTION}")
    names: dict[int, str] = {}
    for name, value in labels.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise SpiderError(
                folder / DESCRIPTION, f"label {name!r} is {value!r}; one whole number is needed"
            )
        if value in names:
            raise SpiderError(folder / DESCRIPTION, f"{names[value]!r} and {name!r} have one value, {value}")
        names[value] = str(others.get(name, name))
    try:
        return LabelTable(f"{folder.name}/{DESCRIPTION}", names)
    except ValueError as error:
        hint = f'{NAMES} can map a name, {{"kidney": "ignore"}}'
        raise SpiderError(folder / DESCRIPTION, f"{str(error).partition(': ')[2]}; {hint}") from None


def _find(folder: Path, on_error: OnError | None) -> list[Series]:
    file = folder / DESCRIPTION
    description = _json(file)
    label_table(folder)
    ending = description.get("file_ending")
    if ending not in SUFFIXES:
        raise SpiderError(file, f"file_ending is {ending!r}; {EXPECTED} can be read")
    names = _entry(description, "channel_names", file)
    if odd := [number for number in names if not number.isdecimal()]:
        raise SpiderError(file, f"channel_names has the key {odd[0]!r}; want a number")
    channels = {int(number): str(name) for number, name in names.items()}
    masks = {path.name.removesuffix(ending): path for path in folder.glob(f"{MASKS}/*{ending}")}
    also = tuple(path for path in (file, folder / NAMES) if path.is_file())
    alone = {
        case: Series(stem=case, patient=patient_of(case), contrast=None, image=None, mask=mask, also=also)
        for case, mask in masks.items()
    }
    found = []
    for path in sorted(folder.glob(f"{IMAGES}/*{ending}")):
        stem = path.name.removesuffix(ending)
        match = _CASE_CHANNEL.fullmatch(stem)
        if match is None or int(match[2]) not in channels:
            expected = ", ".join(f"CASE_{number:04d}{ending} ({name})" for number, name in channels.items())
            report(SpiderError(path, f"the name is not that of a channel; expected {expected}"), on_error)
            continue
        case, contrast = match[1], contrast_of(channels[int(match[2])])
        alone.pop(case, None)
        patient, mask = patient_of(case), masks.get(case)
        found.append(Series(stem=stem, patient=patient, contrast=contrast, image=path, mask=mask, also=also))
    return found + list(alone.values())


def _read_mask(series: Series) -> Volume:
    assert series.mask is not None
    return read_mask(series.mask, label_table(series.mask.parent.parent), series.spacing_mm)


def _json(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(read_regular(file, MOST_BYTES), by_hand=True)
    except (OSError, ValueError) as error:
        raise SpiderError(file, f"cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise SpiderError(file, "is not a JSON object")
    return content


def _entry(description: dict[str, Any], name: str, file: Path) -> dict[str, Any]:
    entry = description.get(name)
    if not isinstance(entry, dict):
        raise SpiderError(file, f'has no object "{name}", as nnU-Net raw version 2 has')
    return entry


NNUNET = Layout(
    name="nnunet",
    expects=f"{DESCRIPTION}, {MASKS}/CASE.nii.gz, {IMAGES}/CASE_0000.nii.gz (nnU-Net raw, version 2)",
    fits=lambda folder: (
        (folder / DESCRIPTION).is_file() and any((folder / n).is_dir() for n in (IMAGES, MASKS))
    ),
    find=_find,
    read_mask=_read_mask,
    inputs=(f"{IMAGES}/*", f"{MASKS}/*"),
)

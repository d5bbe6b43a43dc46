"""Rendered samples as a raw dataset of nnU-Net, version 2.

``imagesTr/CASE_0000.nii.gz`` is the image, 0 to 4095, ``labelsTr/CASE.nii.gz`` holds the classes of a label
scheme and, as the last value, nnU-Net's ``ignore`` where nothing is annotated. A slice is a volume of one
slice, which nnU-Net plans as 2D. ``splits_final.json`` keeps the samples of a patient in one fold.

Every file is written whole or not at all, ``dataset.json`` last; a killed run is continued.

Source: MIC-DKFZ/nnUNet, documentation/dataset_format.md, ignore_label.md and manual_data_splits.md.
"""

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from synthspine.gen import LabelScheme, label_scheme
from synthspine.gen.core.anatomy import IGNORE
from synthspine.gen.core.documents import MOST_BYTES, parse_json
from synthspine.shards.building.label_map_images import WHITE
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.exporting.cases import SOURCES, Case
from synthspine.shards.format.provenance import digest_of, identity_difference
from synthspine.shards.format.sample import ShardError, sample_key
from synthspine.shards.readers.nnunet import DESCRIPTION, IMAGES, MASKS
from synthspine.shards.storage.atomic import TEMPORARY
from synthspine.shards.storage.lock import locked
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.place import Place
from synthspine.shards.volumes.nifti import nifti_bytes
from synthspine.shards.volumes.stored import Stored, packed

OWNER, SPLITS = "synthspine.json", "splits_final.json"
CHANNEL = "_0000"
ENDING = ".nii.gz"
FOLDS = 5

_CASE = re.compile(rf"(?P<subject>sub-.+)_(?P<key>\d{{8}}){re.escape(CHANNEL + ENDING)}")
_DATASET = re.compile(r"Dataset\d{3}_.+")
# Columns towards posterior, rows towards inferior, slices towards right.
_DIRECTION = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True, kw_only=True)
class NnunetOptions(ShardOptions):
    """Where the dataset goes, what its labels are, and the samples, as for the sets."""

    output_dir: Path = Path("results/nnUNet_raw/Dataset601_SynthSpine")
    """Folder of the dataset: DatasetNNN_NAME in the folder that nnUNet_raw names."""
    dims: Literal[2, 3] = 2
    """2 for slices on the grid, 3 for whole label maps with the pixel size of the grid."""
    scheme: str = "ranks"
    """Classes of the labels: ranks, structures, spine, or a YAML file of a label scheme."""

    def __post_init__(self) -> None:
        super().__post_init__()
        label_scheme(self.scheme)
        if not _DATASET.fullmatch(self.output_dir.name):
            raise ValueError(
                f"output_dir {self.output_dir}: nnU-Net finds folders named DatasetNNN_NAME, "
                "such as Dataset601_SynthSpine"
            )


def export_nnunet(options: NnunetOptions) -> Path:
    """Render samples and write them as a dataset of nnU-Net; returns its folder.

    A complete dataset of the same options is kept.

    Raises:
        SpiderError: the label maps cannot be read.
        ShardError: the folder holds another dataset; ``rebuild`` replaces one that was exported before.
        OSError: a file cannot be written.
    """
    scheme = label_scheme(options.scheme)
    source = SOURCES[options.dims](options, refined=scheme.is_refined)
    place, count = open_place(options.output_dir), options.synthetic_samples
    identity = {"dims": options.dims, "scheme": scheme.to_dict(), **source.identity()}
    with locked(place):
        _begin(place, identity, rebuild=options.rebuild)
        if place.size(DESCRIPTION) is not None:
            print(f"complete {place}: {count} cases", flush=True)
            return options.output_dir
        done = _complete_cases(place)
        for start in tqdm(range(0, count, source.step), place.name, unit="batch"):
            stop = min(start + source.step, count)
            if all(index in done for index in range(start, stop)):
                continue
            for index, case in enumerate(source.render(start, stop), start):
                _write_case(place, index, case, scheme)
        splits = splits_of(list(_complete_cases(place).values()))
        if splits:
            place.write(SPLITS, (json.dumps(splits, indent=1) + "\n").encode())
        place.write(DESCRIPTION, (json.dumps(description(scheme, count), indent=1) + "\n").encode())
    print(f"wrote {place}: {count} cases, {len(splits)} folds by patient", flush=True)
    return options.output_dir


def description(scheme: LabelScheme, cases: int) -> dict[str, object]:
    """The content of ``dataset.json``."""
    labels = {name: number for number, name in enumerate(scheme.class_names)}
    return {
        "channel_names": {"0": "MRI"},
        "labels": labels | {"ignore": scheme.num_classes},
        "numTraining": cases,
        "file_ending": ENDING,
        "name": "SynthSpine",
        "description": "Synthetic lumbar-spine MRI rendered from label maps",
    }


def splits_of(cases: list[str]) -> list[dict[str, list[str]]]:
    """The folds of nnU-Net's ``splits_final.json``: five, or one for each patient where there are fewer.

    All cases of a patient (``sub-PATIENT_KEY``) are in the same fold. None of a single patient.
    """
    by_patient = defaultdict(list)
    for case in sorted(cases):
        by_patient[case.rpartition("_")[0]].append(case)
    patients = sorted(by_patient, key=digest_of)
    folds = min(FOLDS, len(patients)) if len(patients) > 1 else 0
    splits = []
    for fold in range(folds):
        held = set(patients[fold::folds])
        parts = {"train": [p for p in patients if p not in held], "val": patients[fold::folds]}
        splits.append(
            {name: sorted(case for p in part for case in by_patient[p]) for name, part in parts.items()}
        )
    return splits


def _begin(place: Place, identity: dict[str, object], *, rebuild: bool) -> None:
    """Claim the folder, or continue what a killed run of the same options left."""
    wanted = json.loads(json.dumps(identity))
    try:
        found = parse_json(place.read(OWNER, MOST_BYTES))
    except FileNotFoundError:
        found = None
    except ValueError:
        found = {}
    found = found if isinstance(found, dict | None) else {}
    held = [name for folder in (place, place / IMAGES, place / MASKS) for name in folder.names()]
    if found is None and not all(name.startswith(".") for name in held):
        raise ShardError(f"{place}: holds files that this command did not write; use another folder")
    if found is not None and found != wanted and not rebuild:
        difference = ", ".join(identity_difference(wanted, found))
        hint = "use another --output-dir, or --rebuild to replace it"
        raise ShardError(f"{place}: was made with other {difference}; {hint}")
    if found != wanted:
        for name in (DESCRIPTION, SPLITS):
            place.remove(name)
    for folder in (place / IMAGES, place / MASKS):
        for name in folder.names():
            # nnU-Net would take what a killed run left for a case.
            if name.startswith(TEMPORARY) or found != wanted:
                folder.remove(name)
    if found != wanted:
        place.write(OWNER, (json.dumps(wanted, indent=1, sort_keys=True) + "\n").encode())


def _complete_cases(place: Place) -> dict[int, str]:
    """Name of every case whose image is there; its label is written before."""
    matches = [_CASE.fullmatch(name) for name in (place / IMAGES).names()]
    return {int(found["key"]): f"{found['subject']}_{found['key']}" for found in matches if found}


def _write_case(place: Place, index: int, case: Case, scheme: LabelScheme) -> None:
    # A reader of BIDS names takes what is before the first underscore for the patient.
    name = f"sub-{case.patient.removeprefix('sub-').replace('_', '-')}_{sample_key(index)}"
    labels = scheme.encode(torch.from_numpy(case.codes)).numpy()
    labels[labels == IGNORE] = scheme.num_classes
    image = np.rint(case.image.astype(np.float32) * WHITE).astype(np.int16)
    depth, rows, columns = case.spacing_mm
    for file, array in ((f"{MASKS}/{name}{ENDING}", labels), (f"{IMAGES}/{name}{CHANNEL}{ENDING}", image)):
        grid = Stored(
            values=array,
            spacing_mm=(columns, rows, depth),
            direction=_DIRECTION,
            origin_mm=(0.0, 0.0, 0.0),
        )
        place.write(file, packed(nifti_bytes(array, grid)))

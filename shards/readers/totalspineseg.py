"""Layout of the output of TotalSpineSeg: ``step2_output/CASE.nii.gz`` and ``input/CASE_0000.nii.gz``.

The images of ``input`` have 1 mm voxels, so they fit the masks of a run with ``--iso``; without it, put the
original images there. The spinal canal is cord and cerebrospinal fluid together.

Source: neuropoly/totalspineseg, README.md ("List of Classes", "Output Data Structure"), and
totalspineseg/inference.py for L6 (46) and the disc L5-L6 (96), beside which 100 is the disc below L6.
"""

from pathlib import Path

from synthspine.shards.readers.base import Layout, OnError, contrast_of, masks_with, patient_of
from synthspine.shards.readers.folder import Series
from synthspine.shards.readers.labels import VERTEBRAE, LabelTable

IMAGES, MASKS, ENDING = "input", "step2_output", ".nii.gz"
# Values of the first cervical, thoracic and lumbar vertebra; 50 more are the discs above them.
_FIRST = {"C": 11, "T": 21, "L": 41}
_VALUES = {name: _FIRST[name[0]] + int(name[1:]) - 1 for name in VERTEBRAE if name != "T13"}

TABLE = LabelTable(
    "TotalSpineSeg",
    {0: "background", 1: "spinal cord", 2: "spinal canal", 50: "sacrum", 100: "disc above sacrum"}
    | {value: name for name, value in _VALUES.items()}
    | {
        _VALUES[below] + 50: f"disc {above}/{below}"
        for above, below in zip(list(_VALUES)[1:], list(_VALUES)[2:], strict=False)
    },
)
"""Label values of step 2."""


def _find(folder: Path, on_error: OnError | None) -> list[Series]:
    masks = {path.name.removesuffix(ENDING): path for path in folder.glob(f"{MASKS}/*{ENDING}")}
    images = {
        path.name.removesuffix(ENDING).removesuffix("_0000"): path
        for path in folder.glob(f"{IMAGES}/*{ENDING}")
    }
    return [
        Series(
            stem=case,
            patient=patient_of(case),
            contrast=contrast_of(case),
            image=images.get(case),
            mask=masks.get(case),
        )
        for case in masks.keys() | images.keys()
    ]


TOTALSPINESEG = Layout(
    name="totalspineseg",
    expects=f"{MASKS}/CASE{ENDING}, {IMAGES}/CASE_0000{ENDING} (output of TotalSpineSeg)",
    fits=lambda folder: (folder / MASKS).is_dir(),
    find=_find,
    read_mask=masks_with(TABLE),
    inputs=(f"{IMAGES}/*", f"{MASKS}/*"),
)

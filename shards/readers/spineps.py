"""Layout of the output of SPINEPS: two masks for each image, below a folder ``derivatives...``.

``sub-01_mod-T2w_seg-vert_msk.nii.gz`` numbers the vertebrae (X), the discs below them (100 + X) and end
plates (200 + X); ``sub-01_mod-T2w_seg-spine_msk.nii.gz`` holds subregions. From the second come the sacrum
and the spinal canal (canal and cord); what else only the second labels is not annotated. An end plate has the
number of the disc that it faces, so it is given to the nearest vertebra. Without its labelling model SPINEPS
counts vertebrae from the top of the scan: where the sacrum is labelled, the lowest vertebra has rank 1
whatever its number.

Source: Hendrik-code/spineps, README.md ("Labels") and spineps/phase_post.py (``add_ivd_ep_vert_label``,
``label_instance_top_to_bottom``); Hendrik-code/TPTBox, TPTBox/core/vert_constants.py (``Vertebra_Instance``,
``Location``).
"""

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from synthspine.shards.readers.base import Layout, OnError, contrast_of, patient_of, report
from synthspine.shards.readers.folder import Series, SpiderError, files_below
from synthspine.shards.readers.labels import VERTEBRAE, LabelTable
from synthspine.shards.readers.levels import dense_codes
from synthspine.shards.readers.spider import Volume, check_pair, read_values

VERTEBRA_MASKS, SPINE_MASKS, ENDING = "_seg-vert_msk.nii.gz", "_seg-spine_msk.nii.gz", ".nii.gz"
_REST = 255
_ORDINARY = [name for name in VERTEBRAE if name != "T13"]
_VALUES = {name: number for number, name in enumerate(_ORDINARY, start=1)} | {"T13": 28}
_END_PLATES = [200 + value for value in (*_VALUES.values(), 26)]
_SACRUM = (26, 29, 30, 31, 32, 33)
_FROM_SPINE = (*_SACRUM, 60, 61)
_SPINE_VALUES = (0, *range(26, 34), *range(40, 54), *range(60, 65), 100)

TABLE = LabelTable(
    "SPINEPS",
    {0: "background", 60: "spinal cord", 61: "spinal canal"}
    | {value: name for name, value in _VALUES.items()}
    | {100 + value: f"disc {name}" for name, value in _VALUES.items()}
    | {value: f"S{number}" for number, value in enumerate(_SACRUM, start=1)}
    # Coccyx, a disc of the sacrum, and end plates without a vertebra.
    | dict.fromkeys((27, 126, *_END_PLATES, _REST), "ignore"),
    counted=True,
)
"""Values of the vertebra mask, with 60 and 61 of the subregion mask; 255 is what else that one labels."""


def _find(folder: Path, on_error: OnError | None) -> list[Series]:
    files = files_below(folder, lambda error: report(error, on_error))
    images = {
        path.name: path
        for path in files
        if path.name.endswith(ENDING) and not path.name.endswith(f"_msk{ENDING}")
    }
    found = []
    for mask in files:
        if not fnmatchcase(mask.relative_to(folder).as_posix(), f"derivatives*/*{VERTEBRA_MASKS}"):
            continue
        stem = mask.name.removesuffix(VERTEBRA_MASKS)
        modality = re.search(r"_mod-([^_]+)", stem)
        case = stem.replace(modality[0], "") + f"_{modality[1]}" if modality else stem
        spine = mask.with_name(stem + SPINE_MASKS)
        if not spine.is_file():
            report(SpiderError(mask, f"{spine.name} is not beside it; both masks are needed"), on_error)
            continue
        series = Series(
            stem=case,
            patient=patient_of(case),
            contrast=contrast_of(case),
            image=images.get(case + ENDING),
            mask=mask,
            also=(spine,),
        )
        found.append(series)
    return found


def _read_mask(series: Series) -> Volume:
    assert series.mask is not None
    volume, spine = (read_values(path, series.spacing_mm) for path in (series.mask, series.also[0]))
    check_pair(volume, spine, series.also[0])
    if odd := set(np.unique(spine.array).tolist()) - set(_SPINE_VALUES):
        legal = ", ".join(map(str, _SPINE_VALUES))
        raise SpiderError(series.also[0], f"label {min(odd)} is not a value of a subregion mask ({legal})")
    values: np.ndarray = np.array(volume.array, dtype=np.int16)
    _give_end_plates_to_vertebrae(values, volume.spacing_mm)
    free = values == 0
    values[free & (spine.array != 0)] = _REST
    wanted = free & np.isin(spine.array, _FROM_SPINE)
    values[wanted] = spine.array[wanted]
    try:
        return replace(volume, array=dense_codes(values, TABLE))
    except ValueError as error:
        raise SpiderError(series.mask, str(error)) from None


def _give_end_plates_to_vertebrae(values: np.ndarray, spacing_mm: tuple[float, float, float]) -> None:
    end_plates, vertebrae = np.isin(values, _END_PLATES), np.isin(values, list(_VALUES.values()))
    if end_plates.any() and vertebrae.any():
        from scipy.ndimage import distance_transform_edt  # a second of every command, which few layouts need

        nearest = distance_transform_edt(~vertebrae, spacing_mm, return_distances=False, return_indices=True)
        values[end_plates] = values[tuple(nearest[:, end_plates])]


SPINEPS = Layout(
    name="spineps",
    expects=f"derivatives*/ with CASE{VERTEBRA_MASKS} and CASE{SPINE_MASKS} (output of SPINEPS)",
    fits=lambda folder: any(True for _ in folder.glob(f"derivatives*/**/*{VERTEBRA_MASKS}")),
    find=_find,
    read_mask=_read_mask,
    inputs=("derivatives*/*_seg-vert_msk.*",),
)

"""Volumes of the structures of a mask: every vertebra and disc, and the canal."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from synthspine.gen.core.anatomy import (
    CANAL,
    DISC_NAMES,
    DISC_OFFSET,
    IGNORE,
    RANK_NAMES,
    spider_values,
    structure_of,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureVolume:
    """Size of one structure.

    Attributes:
        structure: one of ``STRUCTURES``.
        rank: rank of a vertebra or disc, counted from the lowest upward; None for the canal.
        name: anatomical name (L5, L4/L5, ...), or structure and rank where there is none.
        spider_value: value in the mask file.
        volume_ml: voxels times the volume of a voxel; slices are as thick as their distance.
        voxels: number of voxels.
        slices: number of slices with a voxel.
    """

    structure: str
    rank: int | None
    name: str
    spider_value: int
    volume_ml: float
    voxels: int
    slices: int


def structure_volumes(codes: np.ndarray, spacing_mm: tuple[float, float, float]) -> list[StructureVolume]:
    """Volumes of all structures of dense codes ``(Z, H, W)``: vertebrae and discs upward, then the canal."""
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    by_slice = np.stack([np.bincount(plane.ravel(), minlength=IGNORE + 1) for plane in codes])
    values = spider_values()
    volumes = []
    for code in np.flatnonzero(by_slice.any(axis=0)).tolist():
        structure = structure_of(code)
        if structure is None:
            continue
        voxels = int(by_slice[:, code].sum())
        rank = None if code == CANAL else code - (DISC_OFFSET if structure == "disc" else 0)
        volumes.append(
            StructureVolume(
                structure=structure,
                rank=rank,
                name=structure_name(structure, rank),
                spider_value=int(values[code]),
                volume_ml=voxels * voxel_ml,
                voxels=voxels,
                slices=int(np.count_nonzero(by_slice[:, code])),
            )
        )
    return volumes


def structure_name(structure: str, rank: int | None) -> str:
    """Anatomical name of a structure; the lowest vertebra is L5."""
    if rank is None:
        return structure
    names = DISC_NAMES if structure == "disc" else RANK_NAMES
    return names[rank - 1] if rank <= len(names) else f"{structure} {rank}"


def volumes_csv(volumes: Sequence[StructureVolume]) -> str:
    """Volumes as CSV with a header, one structure a row, ml to four decimals."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(StructureVolume.__slots__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(volume) | {"volume_ml": f"{volume.volume_ml:.4f}"} for volume in volumes)
    return text.getvalue()

"""Volumes of the structures of a mask: every vertebra and disc by its rank, the others as wholes."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from synthspine.eval.labelling.roles import code_name, ranks_of
from synthspine.gen.core.anatomy import (
    CODES,
    DISC_OFFSET,
    MAX_RANK,
    POSTERIOR_OFFSET,
    SPIDER_DISC_OFFSET,
    spider_values,
)
from synthspine.gen.core.schemes import LabelScheme


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureVolume:
    """Size of one structure.

    Attributes:
        structure: name of the structure in the label scheme.
        rank: rank of a vertebra, its posterior elements or a disc, counted from the lowest upward; None for
            others.
        name: anatomical name (L5, L4/L5, L5 posterior elements, ...), or kind and rank where no sacrum is in
            view; that of the structure where there is no rank.
        spider_value: value in the mask file.
        volume_ml: voxels times the volume of a voxel; slices are as thick as their distance.
        voxels: number of voxels.
        slices: number of slices with a voxel.
        height_mm: height of a vertebra's body or of a disc (``eval.prediction.tables.heights``); None
            where it has none, or was not measured.
    """

    structure: str
    rank: int | None
    name: str
    spider_value: int
    volume_ml: float
    voxels: int
    slices: int
    height_mm: float | None = None

    @property
    def role(self) -> str | None:
        """``"vertebra"`` or ``"disc"`` of one rank; None for others, posterior elements among them."""
        if self.rank is None or POSTERIOR_OFFSET < self.spider_value < SPIDER_DISC_OFFSET:
            return None
        return "disc" if self.spider_value > SPIDER_DISC_OFFSET else "vertebra"


def structure_volumes(
    codes: np.ndarray,
    spacing_mm: tuple[float, float, float],
    scheme: LabelScheme,
    *,
    relative: bool = False,
    heights: Mapping[int, float] | None = None,
) -> list[StructureVolume]:
    """Volumes of the structures of a scheme in dense codes ``(Z, H, W)``, in the order of the codes.

    With ``relative`` names count from the lowest vertebra in view; ``heights`` are those of dense codes, mm.
    """
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    by_slice = np.stack([np.bincount(plane.ravel(), minlength=CODES) for plane in codes])
    values, structures = spider_values(), _structures(scheme)
    volumes = []
    for code in np.flatnonzero(by_slice.any(axis=0)).tolist():
        if code not in structures:
            continue
        voxels = int(by_slice[:, code].sum())
        rank = int(ranks_of(np.array(code))) or None
        volumes.append(
            StructureVolume(
                structure=structures[code],
                rank=rank,
                name=ranked_name(code, relative=relative) if rank else structures[code],
                spider_value=int(values[code]),
                volume_ml=voxels * voxel_ml,
                voxels=voxels,
                slices=int(np.count_nonzero(by_slice[:, code])),
                height_mm=(heights or {}).get(code),
            )
        )
    return volumes


def ranked_name(code: int, *, relative: bool = False) -> str:
    """Name of a vertebra, its posterior elements or a disc; ``relative`` as for ``code_name``."""
    return code_name(code, relative=relative) + (" posterior elements" if code > POSTERIOR_OFFSET else "")


def _structures(scheme: LabelScheme) -> dict[int, str]:
    """Structure of every code; counted ranks that are in none belong to that of the highest rank."""
    structures = {code: each.name for each in scheme.structures for code in each.codes}
    for offset in (0, DISC_OFFSET, POSTERIOR_OFFSET):
        codes = range(offset + 1, offset + MAX_RANK + 1)
        if known := [structures[code] for code in codes if code in structures]:
            structures |= {code: structures.get(code, known[-1]) for code in codes}
    return structures


def volumes_csv(volumes: Sequence[StructureVolume]) -> str:
    """Sizes as CSV with a header, one structure a row: ml to four decimals, mm to two."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(StructureVolume.__slots__), lineterminator="\n")
    writer.writeheader()
    for volume in volumes:
        height = "" if volume.height_mm is None else f"{volume.height_mm:.2f}"
        row = asdict(volume) | {"volume_ml": f"{volume.volume_ml:.4f}", "height_mm": height}
        writer.writerow(row)
    return text.getvalue()

"""Every random decision of a batch of samples, as tensors whose first axis is the sample.

A record serialises to JSON and back without loss, so a picture can be rendered again from what lies
beside it. Random fields are not stored: they are functions of the ``key`` that is.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class _Batch:
    """Tensors, or other batches, of one value per sample; ``spacing_mm`` alone is common to all."""

    def __len__(self) -> int:
        return len(self._columns()[0][1])

    def _columns(self) -> list[tuple[str, Any]]:
        """Names and values of the fields that hold one value per sample."""
        values = [(entry.name, getattr(self, entry.name)) for entry in dataclasses.fields(self)]
        return [(name, value) for name, value in values if not isinstance(value, tuple)]

    def to(self, device: torch.device | str) -> Self:
        """The same values on another device."""
        return dataclasses.replace(self, **{name: value.to(device) for name, value in self._columns()})

    def to_records(self) -> list[dict[str, Any]]:
        """One JSON-ready dictionary per sample."""
        columns = {
            name: value.to_records() if isinstance(value, _Batch) else value.tolist()
            for name, value in self._columns()
        }
        shared = {
            entry.name: list(getattr(self, entry.name))
            for entry in dataclasses.fields(self)
            if entry.name not in columns
        }
        rows = zip(*columns.values(), strict=True)
        return [shared | dict(zip(columns, row, strict=True)) for row in rows]

    @classmethod
    def from_records(cls, records: Sequence[dict[str, Any]]) -> Self:
        """The batch of :meth:`to_records`, bit for bit.

        Raises:
            ValueError: no record, records of different grids, or a field missing or unknown.
        """
        if not records:
            raise ValueError("there is no record to render")
        names = {entry.name for entry in dataclasses.fields(cls)}
        for record in records:
            if set(record) != names:
                wrong = ", ".join(sorted(set(record) ^ names))
                raise ValueError(f"{cls.__name__} record lacks or does not know: {wrong}")
        entries = dataclasses.fields(cls)
        return cls(**{entry.name: _column(entry, [r[entry.name] for r in records]) for entry in entries})


def _column(entry: dataclasses.Field[Any], column: list[Any]) -> Any:
    if isinstance(entry.type, type) and issubclass(entry.type, _Batch):
        return entry.type.from_records(column)
    if entry.type == tuple[float, ...]:
        if any(value != column[0] for value in column):
            raise ValueError(f"records of one batch differ in {entry.name}: {column}")
        return tuple(column[0])
    return torch.tensor(column, dtype=_INTEGERS.get(entry.name, torch.float32))


_INTEGERS = {"key": torch.int32, "map_index": torch.int64}


@dataclass(frozen=True, kw_only=True, slots=True)
class SpatialParams(_Batch):
    """Which map, and where its anatomy goes.

    Attributes:
        map_index: map of the bank, int64 ``(B,)``.
        key: key of the velocity field, int32 ``(B, 2)``.
        matrix: picture position to map position, about the centre, mm to mm, ``(B, D, D)``.
        translation_mm: added to the map position, ``(B, D)``.
        velocity_mm: standard deviation of the velocity field, ``(B,)``.
        velocity_correlation_mm: its smoothness, ``(B,)``.
        crop_mm: lost field of view at the head end, in front and behind, ``(B, 3)``.
    """

    map_index: Tensor
    key: Tensor
    matrix: Tensor
    translation_mm: Tensor
    velocity_mm: Tensor
    velocity_correlation_mm: Tensor
    crop_mm: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class TissueParams(_Batch):
    """What is painted. All ``(B,)`` unless said; distances in mm, 0 switches a tissue off.

    Attributes:
        key: key of the fields, int32 ``(B, 2)``.
        region_mm: correlation lengths of coarse, medium and fine background regions, ``(B, 3)``.
        clutter: share that medium and fine regions overpaint, ``(B, 2)``.
        muscle_mm: canal centre to the end of the posterior muscle.
        fat_mm: thickness of the fat behind it; air follows.
        front_mm: canal centre to the skin in front.
        vessel_mm: nearest and farthest distance in front of the canal centre, ``(B, 2)``.
        sacrum_deg: turn from one sacral segment to the next, ``(B, 3)``.
        sacrum_scale: size of the segments against the lowest vertebra, ``(B, 3)``, 0 for none.
        cord_mm: half width of the cord.
        cord_offset_mm: its position behind the canal centre.
        conus_mm: where it ends, above the middle of the lowest vertebra.
        roots: share of the canal below it that nerve roots fill.
        epidural_fat: share of the canal's surroundings that fat fills.
        outside: 1 if pixels that are not annotated are black, 0 if painted as background.
    """

    key: Tensor
    region_mm: Tensor
    clutter: Tensor
    muscle_mm: Tensor
    fat_mm: Tensor
    front_mm: Tensor
    vessel_mm: Tensor
    sacrum_deg: Tensor
    sacrum_scale: Tensor
    cord_mm: Tensor
    cord_offset_mm: Tensor
    conus_mm: Tensor
    roots: Tensor
    epidural_fat: Tensor
    outside: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastParams(_Batch):
    """Intensity of every painted code; ``P`` codes, intensities as a share of full scale.

    Attributes:
        key: key of the texture, int32 ``(B, 2)``.
        mean: ``(B, P)``.
        core: added in the middle of a structure (nucleus of a disc), ``(B, P)``.
        texture: standard deviation inside the tissue, ``(B, P)``.
        coarse: share of the texture's variance that is spatially correlated, ``(B,)``.
        texture_mm: correlation length of that part, ``(B,)``.
        rim: strength 0..1 of the dark line around vertebra, disc, canal, ``(B, 3)``.
        rim_level: intensity of these lines, ``(B,)``.
        rim_mm: standard deviation of their profile, ``(B,)``.
        rim_offset_mm: their position, positive inside the structure, ``(B, 3)``.
    """

    key: Tensor
    mean: Tensor
    core: Tensor
    texture: Tensor
    coarse: Tensor
    texture_mm: Tensor
    rim: Tensor
    rim_level: Tensor
    rim_mm: Tensor
    rim_offset_mm: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtefactParams(_Batch):
    """What the scanner adds, ``(B,)`` unless said.

    Attributes:
        key: key of bias field and noise, int32 ``(B, 2)``.
        bias: standard deviation of the logarithm of the bias field.
        bias_mm: its correlation length.
        coil_floor: signal left far in front of the spine, 1 for no fall-off.
        coil_mm: distance in front of the canal centre where half is left.
        coil_width_mm: width of the fall-off.
        noise: standard deviation of either channel of the Rician noise, share of full scale.
        motion_mm: length of the blur of motion, 0 for none.
        motion_deg: its direction, 0 along the columns of the picture, 90 along its rows.
    """

    key: Tensor
    bias: Tensor
    bias_mm: Tensor
    coil_floor: Tensor
    coil_mm: Tensor
    coil_width_mm: Tensor
    noise: Tensor
    motion_mm: Tensor
    motion_deg: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class AcquisitionParams(_Batch):
    """Resolution of the picture.

    Attributes:
        spacing_mm: acquired spacing per axis, ``(B, D)``.
        sigma_mm: standard deviation of the Gaussian point-spread function per axis, ``(B, D)``.
    """

    spacing_mm: Tensor
    sigma_mm: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class IntensityParams(_Batch):
    """Display of the picture, all ``(B,)``.

    Attributes:
        gamma: exponent.
        clip_low: share of the darkest pixels clipped.
        clip_high: share of the brightest pixels clipped.
    """

    gamma: Tensor
    clip_low: Tensor
    clip_high: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Params(_Batch):
    """All decisions of a batch.

    Attributes:
        spacing_mm: spacing of the grid per axis, common to the batch.
        spatial: see :class:`SpatialParams`, and so on for the others.
    """

    spacing_mm: tuple[float, ...]
    spatial: SpatialParams
    tissues: TissueParams
    contrast: ContrastParams
    artefacts: ArtefactParams
    acquisition: AcquisitionParams
    intensity: IntensityParams

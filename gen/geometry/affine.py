"""Affine map: scale, rotation, shear and translation of the anatomy, in millimetres."""

from dataclasses import dataclass

import torch
from kornia.geometry.conversions import angle_to_rotation_matrix
from torch import Tensor

from synthspine.gen.core.drawing import AlwaysDrawn, Drawing, showcase
from synthspine.gen.core.feature import Batch, Config, Range


@dataclass(frozen=True, kw_only=True, slots=True)
class AffineParams(Batch):
    """Picture position to map position, about the centre of the grid."""

    matrix: Tensor  # rotation, shear and inverse magnification, mm to mm, ``(B, D, D)``
    translation_mm: Tensor  # added to the map position, ``(B, D)``


@dataclass(frozen=True, kw_only=True, slots=True)
class AffineConfig(AlwaysDrawn[AffineParams]):
    """Motion of the anatomy as a whole."""

    scale: Range = (0.85, 1.15)
    """Magnification per axis."""
    rotation_deg: Range = (-15.0, 15.0)
    """Rotation in the sagittal plane, degrees."""
    tilt_deg: Range = (-5.0, 5.0)
    """Rotation about the two other axes (3D only), degrees."""
    shear: Range = (-0.05, 0.05)
    """Shear per pair of axes, mm per mm."""
    translation_mm: Range = (-12.0, 12.0)
    """Shift per axis, mm."""

    shown = showcase(
        scale=(0.85, 0.85), rotation_deg=(12.0, 12.0), shear=(0.05, 0.05), translation_mm=(8.0, 8.0)
    )

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        if self.scale[0] <= 0:
            raise ValueError(f"AffineConfig.scale is {self.scale}; a magnification is greater than 0")

    def sample(self, random: Drawing) -> AffineParams:
        """Draw scale, rotation, shear and translation."""
        dims = len(random.spacing_mm)
        scale = random.uniform("affine_scale", *self.scale, shape=(dims,))
        unit = torch.eye(dims, device=scale.device).repeat(len(scale), 1, 1)
        planes = [(dims - 2, dims - 1), (0, 1), (0, 2)][: dims * (dims - 1) // 2]
        turn, shear = unit, unit.clone()
        for pair, (i, j) in enumerate(planes):
            span = self.tilt_deg if pair else self.rotation_deg
            rotation = unit.clone()
            angle_deg = random.uniform(f"affine_turn{pair}", *span)
            rotation[:, [[i], [j]], [i, j]] = angle_to_rotation_matrix(-angle_deg)
            turn = rotation @ turn
            shear[:, i, j] = random.uniform(f"affine_shear{pair}", *self.shear)
        return AffineParams(
            matrix=turn @ shear @ torch.diag_embed(1 / scale),
            translation_mm=random.uniform("affine_translation", *self.translation_mm, shape=(dims,)),
        )

"""Bone as a thick slice shows it: soft, mixed with what lies beside it, often without a cortical line.

In slices that show the canal these are the arches. Slices beside the canal graze the bodies and the discs as
well, which fade into muscle and fat there.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import MAX_RANK, disc_code
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import WIDEST, gaussian_blur, smooth_field
from synthspine.gen.core.masks import above, at_most, between, per_sample
from synthspine.gen.geometry.spine_frame import NEVER_MM, SpineFrame, is_beside
from synthspine.gen.intensity.contrast import ContrastParams, colour
from synthspine.gen.tissues.palette import FAT, VERTEBRAE

BEHIND_MM = (3.0, 8.0)
"""Distances behind the canal's middle where mixing begins and is complete. Vertebrae in front of them are
bodies; where a slice shows no canal between them, body and arch pass into each other without a step."""
LINES_MM = (8.0, 12.0)
"""Distances behind the canal's middle where the loss of lines begins and is complete."""
WIDEST_BLUR_MM = 2.5
REACH_MM = 6.0
"""Reach of the blur's kernel."""
FINEST_MM = 3.0
"""Least correlation length of the shares: they are drawn on a grid this coarse."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchParams(Batch):
    """Mixing of the arches; ``key`` is that of the random shares, int32 ``(B, 2)``."""

    key: Tensor
    blur_mm: Tensor
    through: Tensor
    patch_mm: Tensor
    lines_lost: Tensor
    fatter: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.blur_mm + self.through + self.fatter > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchConfig(Feature[ArchParams]):
    """Arches, and in slices beside the canal all of the spine, seen through a thick slice."""

    probability: float = 0.7
    """Probability that they are mixed with what surrounds them."""
    blur_mm: Range = (0.3, 1.8)
    """Standard deviation of the blur of their borders, mm."""
    through: Range = (0.0, 0.8)
    """Greatest share of the surrounding tissue that shows through."""
    patch_mm: Range = (3.0, 12.0)
    """Correlation length of that share, mm."""
    lines_lost: Range = (0.0, 1.0)
    """Share of the strength that the lines on their borders lose."""
    fatter_probability: float = 0.4
    """Of mixed arches, share whose marrow is nearer to fat than that of bodies."""
    fatter: Range = (0.1, 0.5)
    """Share of the way to fat that their signal goes."""

    bounds = within(
        "through",
        "lines_lost",
        "fatter",
        blur_mm=(0.0, WIDEST_BLUR_MM),
        patch_mm=(FINEST_MM, WIDEST * FINEST_MM),
    )
    along_spine = True
    hidden_with = ("vertebra", "blur_mm", "through", "fatter")
    shown = showcase("canal", blur_mm=(1.8, 1.8), through=(0.8, 0.8), lines_lost=(1.0, 1.0))

    def sample(self, random: SampleRandom) -> ArchParams:
        """Draw the mixing of arches."""
        on = random.chance("arches", self.probability)
        return ArchParams(
            key=random.key("arches_field"),
            blur_mm=random.uniform("arches_blur", *self.blur_mm) * on,
            through=random.uniform("arches_through", *self.through) * on,
            patch_mm=random.uniform("arches_patch", *self.patch_mm),
            lines_lost=random.uniform("arches_lines", *self.lines_lost) * on,
            fatter=random.uniform("arches_fatter", *self.fatter)
            * (on & random.chance("arches_fatter_on", self.fatter_probability)),
        )


def mix_arches(
    image: Tensor,
    codes: Tensor,
    around: Tensor,
    contrast: ContrastParams,
    frame: SpineFrame,
    params: ArchParams | None,
    spacing_mm: Spacing,
) -> Tensor:
    """Mix the arches, and in slices beside the canal all of the spine, with what surrounds them.

    Bone is mixed with its surroundings in proportion to its blurred mask, plus a random share, and goes
    towards fat. Every value lies between the image (of tissue means) and the means of vertebrae, of fat and
    of ``around`` (painted codes of the surroundings). Canal, unannotated pixels and pixels farther than
    ``REACH_MM`` from bone stay bit for bit, and so do bodies and discs in slices that show the canal.
    """
    if params is None:
        return image
    beside = is_beside(frame)[..., None, None].to(torch.uint8)
    disc = between(codes, disc_code(1), disc_code(MAX_RANK))
    bone = (between(codes, 1, MAX_RANK) + disc * beside).to(image.dtype)
    share = _bone_share(bone, params, spacing_mm)
    ground = torch.lerp(image, colour(around, contrast), bone)
    # Outside of its mask, bone has the mean of all vertebrae.
    marrow = torch.lerp(per_sample(contrast.mean[:, VERTEBRAE].mean(1), image), image, bone)
    del bone
    marrow.lerp_(per_sample(contrast.mean[:, FAT], image), per_sample(params.fatter, image))
    mixed = ground.lerp_(marrow, share)
    del marrow, share
    mixing = per_sample(above(params.blur_mm + params.through + params.fatter, 0.0), codes)
    mixing = mixing * (at_most(codes, MAX_RANK) + disc * beside)
    return torch.lerp(image, mixed, _thick(frame, BEHIND_MM).mul_(mixing))


def _bone_share(bone: Tensor, params: ArchParams, spacing_mm: Spacing) -> Tensor:
    """Share of bone at every pixel: its blurred mask, less what a random field lets show through."""
    sigma_mm = params.blur_mm.unsqueeze(1).expand(-1, 2)
    share = gaussian_blur(bone, sigma_mm, spacing_mm[-2:], REACH_MM)
    # An arch's own signal has a random share from 1 - through to 1.
    half = per_sample(params.through / 2, bone)
    field = smooth_field(params.key, "arches", bone.shape[1:], spacing_mm, params.patch_mm, FINEST_MM)
    return share.mul_(torch.addcmul(1 - half, field.clamp_(-1, 1), half, value=-1))


def _thick(frame: SpineFrame, ends_mm: tuple[float, float]) -> Tensor:
    """1 where a thick slice mixes tissues, else 0, float32 ``(B, *grid)``.

    That is everywhere beside the canal, and in other slices from the second distance behind it on; it rises
    from the first one.
    """
    first, full = ends_mm
    ramp = (frame.behind_mm - first).mul_(1 / (full - first))
    return ramp.add_(is_beside(frame)[..., None, None].float(), alpha=NEVER_MM).clamp_(0, 1)


def lose_lines(lined: Tensor, plain: Tensor, frame: SpineFrame, params: ArchParams | None) -> Tensor:
    """Fade the lines on borders where :func:`mix_arches` mixes: go towards the image without lines.

    Returns ``lined`` itself if ``params`` is None or no line was drawn (``lined is plain``).
    """
    if params is None or lined is plain:
        return lined
    lost = _thick(frame, LINES_MM).mul_(per_sample(params.lines_lost, lined))
    return torch.lerp(lined, plain, lost)

"""Contrast: an intensity for every painted tissue, texture inside, dark lines on borders."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gen.anatomy import STRUCTURES
from gen.config import FINEST_TEXTURE_MM, ContrastConfig
from gen.counter_rng import SampleRandom, normal_field
from gen.palette import (
    AIR,
    DISCS,
    OUTSIDE,
    PAINT_CODES,
    SACRAL_DISC,
    SACRUM,
    TISSUES,
    VERTEBRAE,
)
from gen.params import ContrastParams
from gen.separable import smooth_field
from gen.tissues import Painting


def draw_contrast(config: ContrastConfig, random: SampleRandom) -> ContrastParams:
    """Draw the intensities of every sample.

    A contrast is either fully random (each tissue uniform over the scale), or lies at a position between
    the measured T1 (0) and T2 (1) means, with the measured spread about them.
    """
    batch, device = len(random.keys), random.keys.device
    fully_random = random.chance("contrast_random", config.random_probability).unsqueeze(1)
    at_end = random.chance("alpha_end", config.end_probability)
    low, high = config.alpha
    end = torch.where(random.chance("alpha_which", 0.5), high, low)
    alpha = torch.where(at_end, end, random.uniform("alpha", low, high))

    jitter = random.uniform("jitter", *config.instance_jitter).unsqueeze(1)
    mean = torch.where(fully_random, _random_means(random), _measured_means(config, random, alpha))
    core = _cores(random, alpha, fully_random)
    vertebra = mean[:, VERTEBRAE.start, None]
    disc = mean[:, DISCS.start, None]
    mean[:, VERTEBRAE] += jitter * random.normal("vertebra_jitter", (VERTEBRAE.stop - VERTEBRAE.start,))
    mean[:, DISCS] += 1.5 * jitter * random.normal("disc_jitter", (DISCS.stop - DISCS.start,))
    # The sacrum is bone of the same body: a network must not tell it from vertebrae by its grey value.
    alike = random.chance("sacrum_alike", 0.85).unsqueeze(1)
    sacrum = vertebra + jitter * random.normal("sacrum_jitter", (1,))
    sacral_disc = disc + jitter * random.normal("sacral_disc_jitter", (1,))
    mean[:, SACRUM, None] = torch.where(alike, sacrum, mean[:, SACRUM, None])
    mean[:, SACRAL_DISC, None] = torch.where(alike, sacral_disc, mean[:, SACRAL_DISC, None])
    mean[:, OUTSIDE] = 0

    texture = random.uniform("texture", *config.texture, shape=(PAINT_CODES,))
    texture[:, AIR] *= 0.2
    texture[:, OUTSIDE] = 0
    rim = random.uniform("rim", 0.3, 1.0, shape=(len(STRUCTURES),))
    rim = rim * random.chance("rim_on", config.rim_probability).unsqueeze(1)
    return ContrastParams(
        key=random.key("texture_field"),
        mean=mean.clamp(0, 1),
        core=core,
        texture=texture,
        coarse=random.uniform("texture_coarse", 0.2, 0.9),
        texture_mm=random.uniform("texture_mm", *config.texture_mm),
        rim=rim,
        rim_level=random.uniform("rim_level", 0.0, 0.15),
        rim_mm=random.uniform("rim_mm", *config.rim_mm),
        rim_offset_mm=random.uniform("rim_offset", -1.2, 0.6, shape=(len(STRUCTURES),))
        + torch.zeros(batch, len(STRUCTURES), device=device),
    )


def _random_means(random: SampleRandom) -> Tensor:
    """Uniform means; instances of a structure share theirs, air is mostly dark; ``(B, P)``."""
    mean = random.uniform("random_mean", shape=(PAINT_CODES,)).clone()
    for codes in (VERTEBRAE, DISCS):
        mean[:, codes] = mean[:, codes.start, None]
    mean[:, AIR] *= torch.where(random.chance("dark_air", 0.8), 0.05, 1.0)
    return mean


def _measured_means(config: ContrastConfig, random: SampleRandom, alpha: Tensor) -> Tensor:
    """Means around the measured ones at position ``alpha`` between T1 and T2, ``(B, P)``."""
    mean = torch.zeros(len(alpha), PAINT_CODES, device=alpha.device)
    for name, tissue in TISSUES.items():
        centre = torch.lerp(torch.full_like(alpha, tissue.t1[0]), torch.full_like(alpha, tissue.t2[0]), alpha)
        spread = torch.lerp(torch.full_like(alpha, tissue.t1[1]), torch.full_like(alpha, tissue.t2[1]), alpha)
        if name == "background":
            count = tissue.codes.stop - tissue.codes.start  # type: ignore[union-attr]
            value = random.normal(f"mean_{name}", (count,))
        else:
            value = random.normal(f"mean_{name}", (1,))
        value = centre.unsqueeze(1) + config.spread * spread.unsqueeze(1) * value
        mean[:, tissue.codes] = value if isinstance(tissue.codes, slice) else value[:, 0]
    return mean


def _cores(random: SampleRandom, alpha: Tensor, fully_random: Tensor) -> Tensor:
    """What the middle of a disc has more than its border: much on T2 where it is healthy, ``(B, P)``."""
    core = torch.zeros(len(alpha), PAINT_CODES, device=alpha.device)
    count = DISCS.stop - DISCS.start
    health = random.uniform("disc_health").unsqueeze(1) * random.uniform("nucleus", shape=(count,)) ** 2
    measured = (0.04 + 0.5 * alpha.unsqueeze(1)) * health
    free = random.uniform("random_core", -0.4, 0.4, shape=(count,))
    core[:, DISCS] = torch.where(fully_random, free * health, measured)
    return core


def colour(painting: Painting, params: ContrastParams, spacing_mm: Sequence[float]) -> Tensor:
    """Intensity of every pixel, float32 ``(B, *grid)``, about 0..1."""
    codes = painting.codes
    index = codes.flatten(1).long()
    mean, core, spread = (
        table.gather(1, index).reshape(codes.shape) for table in (params.mean, params.core, params.texture)
    )
    interior = ((painting.depth_mm[:, STRUCTURES.index("disc")] - 1.0) / 2.5).clamp(0, 1)
    image = mean + core * interior + spread * _texture(codes, params, spacing_mm)
    return _rims(image, painting.depth_mm, params)


def _texture(codes: Tensor, params: ContrastParams, spacing_mm: Sequence[float]) -> Tensor:
    """White and correlated noise of variance 1."""
    grid = codes.shape[1:]
    white = normal_field(params.key, "white", grid.numel()).reshape(codes.shape)
    size = params.texture_mm.unsqueeze(1).expand(-1, len(grid))
    coarse = smooth_field(params.key, "coarse", grid, spacing_mm, size, FINEST_TEXTURE_MM)
    share = params.coarse.view(-1, *[1] * len(grid))
    return torch.sqrt(1 - share) * white + torch.sqrt(share) * coarse


def _rims(image: Tensor, depth_mm: Tensor, params: ContrastParams) -> Tensor:
    """Darken the borders of the structures with a Gaussian profile."""
    shape = (-1, len(STRUCTURES), *[1] * (image.dim() - 1))
    width = params.rim_mm.view(-1, *[1] * image.dim())
    profile = torch.exp(-0.5 * ((depth_mm - params.rim_offset_mm.view(shape)) / width) ** 2)
    strength = (profile * params.rim.view(shape)).amax(1)
    level = params.rim_level.view(-1, *[1] * (image.dim() - 1))
    # A line darkens, it never brightens: where tissue is darker than the line, it stays.
    return image - strength * (image - level).clamp(min=0)

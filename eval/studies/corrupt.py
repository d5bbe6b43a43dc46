"""Corruptions of known strength: noise, bias field, motion, ghosts.

The operators are those of the generator: Model A has met their kind in training, up to the strength of its
configuration; Model B has not. Levels are given instead of drawn; other random choices (place, direction,
lines) are a function of (``CORRUPTION_SEED``, index of the slice), so that a slice is corrupted in the same
way for every model, level and batch.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import named_keys, sample_keys, uniform_field
from synthspine.gen.scanner.kspace import distort_kspace
from synthspine.gen.scanner.motion import JUMPS, GhostingParams, KSpaceMotionConfig, KSpaceMotionParams
from synthspine.gen.scanner.noise import NoiseParams, add_noise
from synthspine.gen.scanner.shading import BiasParams, add_bias

CORRUPTION_SEED = 2**40 + 3
BIAS_CORRELATION_MM = 60.0
"""Correlation length of the bias field."""
GHOSTS_EVERY = (2, 3, 4)
"""Periods of wrong lines of k-space, equally probable."""

Corruption = Callable[[Tensor, float, Tensor, float], Tensor]


def add_rician_noise(image: Tensor, level: float, keys: Tensor, spacing_mm: float) -> Tensor:
    """Rician noise; ``level`` is its standard deviation in either channel, share of full scale."""
    count = len(image)
    noise = NoiseParams(
        key=named_keys(keys, "benchmark_noise"),
        level=image.new_full((count,), level),
        rician=image.new_ones(count),
        g_factor=None,
    )
    nowhere = image.new_zeros(1)
    return add_noise(image, noise, nowhere, nowhere)


def add_bias_field(image: Tensor, level: float, keys: Tensor, spacing_mm: float) -> Tensor:
    """Bias field; ``level`` is the standard deviation of its logarithm. The maximum is preserved."""
    bias = BiasParams(
        key=named_keys(keys, "benchmark_bias"),
        log_std=image.new_full((len(image),), level),
        correlation_mm=image.new_full((len(image),), BIAS_CORRELATION_MM),
    )
    uneven = add_bias(image, bias, (spacing_mm, spacing_mm))
    brightest, now = image.amax(dim=(1, 2), keepdim=True), uneven.amax(dim=(1, 2), keepdim=True)
    return uneven * (brightest / now.clamp(min=1e-6))


def add_motion(image: Tensor, level: float, keys: Tensor, spacing_mm: float) -> Tensor:
    """Two sudden displacements of ``level`` mm each, in any direction, during the reading of k-space."""
    low, high = KSpaceMotionConfig().jump_time
    angle = 2 * math.pi * uniform_field(keys, "benchmark_jump_angle", JUMPS)
    steps = level * torch.stack((torch.cos(angle), torch.sin(angle)), dim=2)
    still = image.new_zeros(len(image))
    motion = KSpaceMotionParams(
        along_rows=_along_rows(keys),
        jump_time=low + (high - low) * uniform_field(keys, "benchmark_jump_time", JUMPS),
        displacement_mm=torch.cat((torch.zeros_like(steps[:, :1]), steps.cumsum(dim=1)), dim=1),
        swing_mm=still,
        swing_cycles=still,
        swing_phase=still,
    )
    return distort_kspace(image, [motion], (spacing_mm, spacing_mm))


def add_ghosts(image: Tensor, level: float, keys: Tensor, spacing_mm: float) -> Tensor:
    """Ghosts of amplitude ``level``, share of the signal, a half to a quarter of the field of view apart."""
    place = uniform_field(keys, "benchmark_ghosts_every", 1)[:, 0] * len(GHOSTS_EVERY)
    every = torch.tensor(GHOSTS_EVERY, device=image.device, dtype=image.dtype)
    ghosts = GhostingParams(
        along_rows=_along_rows(keys),
        strength=image.new_full((len(image),), level),
        every=every[place.long().clamp(max=len(GHOSTS_EVERY) - 1)],
    )
    return distort_kspace(image, [ghosts], (spacing_mm, spacing_mm))


CORRUPTIONS: dict[str, Corruption] = {
    "noise": add_rician_noise,
    "bias": add_bias_field,
    "motion": add_motion,
    "ghosting": add_ghosts,
}


def corrupt(image: Tensor, kind: str, level: float, indices: Tensor, spacing_mm: float) -> Tensor:
    """Slices, float32 in [0, 1], ``(B, 1, H, W)``, with one corruption of a known strength, clipped.

    The kind is an entry of ``CORRUPTIONS``; level 0 returns the slices themselves. The index of every slice
    in its set, int64 ``(B,)``, decides the random choices.
    """
    if level == 0:
        return image
    keys = sample_keys(CORRUPTION_SEED, indices.to(image.device))
    return CORRUPTIONS[kind](image[:, 0], level, keys, spacing_mm).clamp(0, 1)[:, None]


def _along_rows(keys: Tensor) -> Tensor:
    """Whether phase is encoded along the rows' axis, 1 or 0, ``(B,)``."""
    return (uniform_field(keys, "benchmark_phase_axis", 1)[:, 0] < 0.5).float()

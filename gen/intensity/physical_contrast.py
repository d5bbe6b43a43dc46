"""Contrast by physics: the signal of a spin echo, plain or after an inversion that nulls fat.

Signal of a tissue of proton density ``rho`` and relaxation times ``T1``, ``T2``, for ``TE << TR``::

    spin echo            rho * (1 - exp(-TR/T1)) * exp(-TE/T2)
    inversion recovery   rho * (1 - 2 exp(-TI/T1) + exp(-TR/T1)) * exp(-TE/T2)

Source: Bernstein, King and Zhou, Handbook of MRI Pulse Sequences (2004), spin echo and inversion recovery.
Densities and relaxation times come from ``gen.intensity.spin_echo``. All protocols are fast spin echoes, in
which fat keeps its long T2. There are ``S`` substances: the tissues of that module.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Config, Range, within
from synthspine.gen.intensity import spin_echo
from synthspine.gen.tissues.palette import FAT_FRACTION, PAINT_CODES, REGIONS, TISSUES, codes_of

_SUBSTANCES = tuple(spin_echo.TISSUES)
_FAT = _SUBSTANCES.index("fat")
_FLUID = _SUBSTANCES.index("cerebrospinal fluid")
_LOW_TESLA, _HIGH_TESLA = 1.5, 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PhysicalConfig(Config):
    """Protocols and relaxation behind the physical recipe."""

    stir_probability: float = 0.2
    """Probability of an inversion that nulls fat (STIR)."""
    t2_probability: float = 0.5
    """Of the others: probability of T2 weighting instead of T1 weighting."""
    high_field_probability: float = 0.5
    """Probability of 3 T instead of 1.5 T."""
    t1_repetition_ms: Range = (400.0, 750.0)
    """Repetition time TR of T1-weighted images, ms."""
    t1_echo_ms: Range = (7.0, 14.0)
    """Effective echo time TE of T1-weighted images, ms."""
    t2_repetition_ms: Range = (2500.0, 4500.0)
    """Repetition time of T2-weighted images, ms."""
    t2_echo_ms: Range = (85.0, 125.0)
    """Effective echo time of T2-weighted images, ms."""
    stir_repetition_ms: Range = (3000.0, 5500.0)
    """Repetition time of STIR images, ms."""
    stir_echo_ms: Range = (30.0, 70.0)
    """Effective echo time of STIR images, ms."""
    inversion: Range = (0.93, 1.07)
    """Inversion time TI of STIR images, as a multiple of the time that nulls fat."""
    relaxation_spread: float = 0.08
    """Standard deviation between patients of the logarithm of T1 and of T2."""
    density_spread: float = 0.05
    """Standard deviation between patients of the logarithm of the proton density."""
    region_density: Range = (0.5, 1.0)
    """Proton density of random background regions, relative to water."""
    region_t1_ms: Range = (400.0, 2000.0)
    """T1 of random background regions, ms; its logarithm is uniform."""
    region_t2_ms: Range = (20.0, 200.0)
    """T2 of random background regions, ms; its logarithm is uniform."""
    full_scale: Range = (0.8, 1.1)
    """Display: intensity of the brighter one of fat and cerebrospinal fluid; beyond 1 it is clipped."""

    bounds = within(
        "relaxation_spread",
        "density_spread",
        inversion=(0.1, 3.0),
        region_density=(0.0, 2.0),
        region_t1_ms=(1.0, 1e5),
        region_t2_ms=(0.1, 1e5),
        full_scale=(0.01, 10.0),
    )

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        for name in ("t1", "t2", "stir"):
            echo, repetition = getattr(self, f"{name}_echo_ms"), getattr(self, f"{name}_repetition_ms")
            if not 0 < echo[0] <= echo[1] < repetition[0]:
                raise ValueError(
                    f"PhysicalConfig.{name}_echo_ms is {echo}; it must lie above 0 and below "
                    f"{name}_repetition_ms {repetition}"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class PhysicalParams(Batch):
    """Protocol of a sample: field (1.5 or 3.0 T), TR, effective TE, TI (0 without inversion), ``(B,)``."""

    field_tesla: Tensor
    repetition_ms: Tensor
    echo_ms: Tensor
    inversion_ms: Tensor


class _Tables(NamedTuple):
    """Constants; signals have a column per substance, then per region; a code lies between two of them."""

    density: Tensor  # (S,)
    t1_ms: Tensor  # (2, S): 1.5 T, 3 T
    t2_ms: Tensor  # (2, S), lipid lengthened by the echo train
    first: Tensor  # (P,) column of a code's first substance
    second: Tensor  # (P,) of its second substance
    least: Tensor  # (P,) least share of the second
    most: Tensor  # (P,) greatest share of the second


@cache
def _tables(device: torch.device) -> _Tables:
    substances = spin_echo.TISSUES.values()
    longer = [1 + (spin_echo.FAST_SPIN_ECHO_FAT - 1) * substance.fat for substance in substances]
    t1_ms = [[float(s.t1_ms[f]) for s in substances] for f in (0, 1)]
    t2_ms = [[s.t2_ms[f] * factor for s, factor in zip(substances, longer, strict=True)] for f in (0, 1)]
    air = _SUBSTANCES.index("air")
    first, second = [air] * PAINT_CODES, [air] * PAINT_CODES
    least, most = [0.0] * PAINT_CODES, [0.0] * PAINT_CODES
    for tissue in TISSUES.values():
        for code in codes_of(tissue):
            if tissue.relaxation is None:
                first[code], second[code] = len(_SUBSTANCES) + code - REGIONS.start, _FAT
                least[code] = most[code] = FAT_FRACTION[code]
            else:
                first[code], second[code] = (_SUBSTANCES.index(name) for name in tissue.relaxation)
                least[code], most[code] = tissue.blend
    tables = ([s.density for s in substances], t1_ms, t2_ms, first, second, least, most)
    return _Tables(*(torch.tensor(table, device=device) for table in tables))


def draw_physical(
    config: PhysicalConfig, random: SampleRandom, place: Tensor
) -> tuple[Tensor, Tensor, PhysicalParams]:
    """Draw a protocol, a patient's relaxation times and the intensities that follow from them.

    ``place`` ``(B, P)``, in 0..1, is that of each code within the range of its blend of two substances.

    Returns:
        Mean of every code, share of full scale, not clamped, ``(B, P)``; weighting, 0 for T1, 1 for T2
        and STIR, ``(B,)``; the protocol.
    """
    params, weighting = _draw_protocol(config, random)
    density, t1_ms, t2_ms = _draw_relaxation(config, random, params.field_tesla)
    times = (value.unsqueeze(1) for value in (params.repetition_ms, params.echo_ms, params.inversion_ms))
    signal = inversion_signal(density, t1_ms, t2_ms, *times)
    tables = _tables(place.device)
    share = torch.lerp(tables.least, tables.most, place)
    # Two substances of one voxel add up with their signs, and only then the magnitude is taken.
    mixed = torch.lerp(signal[:, tables.first], signal[:, tables.second], share).abs()
    brightest = torch.maximum(signal[:, _FAT].abs(), signal[:, _FLUID].abs())
    level = random.uniform("physical_full_scale", *config.full_scale) / brightest
    return mixed * level.unsqueeze(1), weighting, params


def inversion_signal(
    density: Tensor,
    t1_ms: Tensor,
    t2_ms: Tensor,
    repetition_ms: Tensor,
    echo_ms: Tensor,
    inversion_ms: Tensor,
) -> Tensor:
    """Signed signal of a spin echo after an inversion (see the module), without one where TI is 0.

    All arguments broadcast; times are above 0, TE is much shorter than TR. The unit is the signal of fully
    relaxed water: -1..1, never negative without inversion.
    """
    # TI = 0 would be an inversion right before the excitation; here it stands for none.
    inverted = (inversion_ms > 0).to(t1_ms.dtype)
    saturation = (2 * inverted - 1) * torch.exp(-repetition_ms / t1_ms)
    recovery = 1 + saturation - 2 * inverted * torch.exp(-inversion_ms / t1_ms)
    return density * recovery * torch.exp(-echo_ms / t2_ms)


def nulling_ms(t1_ms: Tensor, repetition_ms: Tensor) -> Tensor:
    """Inversion time that nulls a tissue, ``T1 * ln(2 / (1 + exp(-TR/T1)))``: the zero of its signal."""
    return t1_ms * (math.log(2.0) - torch.log1p(torch.exp(-repetition_ms / t1_ms)))


def _draw_protocol(config: PhysicalConfig, random: SampleRandom) -> tuple[PhysicalParams, Tensor]:
    stir = random.chance("physical_stir", config.stir_probability)
    t2 = random.chance("physical_t2", config.t2_probability)
    high = random.chance("physical_field", config.high_field_probability)
    times = []
    for name in ("repetition_ms", "echo_ms"):
        unit = random.uniform(f"physical_{name}")
        ranges = (getattr(config, f"{weighting}_{name}") for weighting in ("t1", "t2", "stir"))
        t1_time, t2_time, stir_time = (low + (upper - low) * unit for low, upper in ranges)
        times.append(torch.where(stir, stir_time, torch.where(t2, t2_time, t1_time)))
    repetition, echo = times
    fat_t1_ms = _tables(stir.device).t1_ms[:, _FAT]
    null = nulling_ms(torch.where(high, fat_t1_ms[1], fat_t1_ms[0]), repetition)
    params = PhysicalParams(
        field_tesla=torch.where(high, _HIGH_TESLA, _LOW_TESLA),
        repetition_ms=repetition,
        echo_ms=echo,
        inversion_ms=null * random.uniform("physical_inversion", *config.inversion) * stir,
    )
    return params, (stir | t2).float()


def _draw_relaxation(
    config: PhysicalConfig, random: SampleRandom, field_tesla: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Density, T1 and T2 of the patient's substances, then of the regions, each ``(B, S + regions)``."""
    tables = _tables(field_tesla.device)
    jitter = random.normal("physical_patient", (3, len(_SUBSTANCES)))
    regions = random.uniform("physical_regions", shape=(3, REGIONS.stop - REGIONS.start))
    high = (field_tesla == _HIGH_TESLA).unsqueeze(1)
    t1_ms, t2_ms = (torch.where(high, table[1], table[0]) for table in (tables.t1_ms, tables.t2_ms))
    known = (
        tables.density * torch.exp(config.density_spread * jitter[:, 0]),
        t1_ms * torch.exp(config.relaxation_spread * jitter[:, 1]),
        t2_ms * torch.exp(config.relaxation_spread * jitter[:, 2]),
    )
    low, upper = config.region_density
    free = (
        low + (upper - low) * regions[:, 0],
        _log_uniform(regions[:, 1], config.region_t1_ms),
        _log_uniform(regions[:, 2], config.region_t2_ms),
    )
    density, t1_ms, t2_ms = (torch.cat(pair, dim=1) for pair in zip(known, free, strict=True))
    return density, t1_ms, t2_ms


def _log_uniform(unit: Tensor, limits: Range) -> Tensor:
    low, high = limits
    return low * torch.exp(math.log(high / low) * unit)

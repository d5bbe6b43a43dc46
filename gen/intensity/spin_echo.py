"""Spin-echo signal of tissues from their published relaxation times.

The phantom's images come from this physical model, the generator's from random class means: a network trained
on the one is tested on something it was not made from.

Relaxation times in ms, (1.5 T, 3 T):

* muscle, marrow, subcutaneous fat, liver: de Bazelaire et al., Radiology 2004;230:652;
* spinal cord and nerve, blood: Stanisz et al., Magn Reson Med 2005;54:507;
* T2 of the nucleus: Marinelli et al., AJNR 2010;31:1278 (108 ms in Pfirrmann grade II, 53 ms in grade IV);
* cerebrospinal fluid: Rooney et al., Magn Reson Med 2007;57:308 (T1), Spijkerman et al., MAGMA 2018;31:415;
* the rest (T1 of discs, skin, bowel, fibrous tissue, oedema), for want of one source: plausible values
  between those of the tissues they are made of.

Proton densities are relative to water. Flowing blood gives no spin-echo signal (flow void).
"""

from dataclasses import dataclass

import numpy as np

from synthspine.gen.tissues.palette import MARROW_FAT

Array = np.ndarray

FAST_SPIN_ECHO_FAT = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Tissue:
    """What a tissue brings to a spin echo: relative proton density, T1 and T2 in ms at 1.5 T and 3 T.

    ``fat`` is the share (0-1) of the signal that is lipid, whose T2 a fast spin echo lengthens.
    """

    density: float
    t1_ms: tuple[float, float]
    t2_ms: tuple[float, float]
    fat: float = 0.0


TISSUES: dict[str, Tissue] = {
    "air": Tissue(density=0.0, t1_ms=(1000, 1000), t2_ms=(1, 1)),
    "cortical bone": Tissue(density=0.2, t1_ms=(240, 280), t2_ms=(1, 1)),
    "ligament": Tissue(density=0.6, t1_ms=(700, 850), t2_ms=(9, 8)),
    "fibrous": Tissue(density=0.65, t1_ms=(750, 900), t2_ms=(24, 22)),
    "marrow": Tissue(density=0.82, t1_ms=(549, 586), t2_ms=(49, 49), fat=MARROW_FAT),
    "fat": Tissue(density=0.90, t1_ms=(343, 382), t2_ms=(58, 68), fat=1.0),
    "muscle": Tissue(density=0.78, t1_ms=(856, 898), t2_ms=(34, 31)),
    "skin": Tissue(density=0.55, t1_ms=(900, 1000), t2_ms=(25, 22)),
    "cerebrospinal fluid": Tissue(density=1.0, t1_ms=(4300, 4300), t2_ms=(2100, 1900)),
    "cord": Tissue(density=0.80, t1_ms=(745, 993), t2_ms=(74, 78)),
    "nerve root": Tissue(density=0.80, t1_ms=(745, 993), t2_ms=(78, 80)),
    "nucleus hydrated": Tissue(density=0.88, t1_ms=(1150, 1300), t2_ms=(112, 108)),
    "nucleus dry": Tissue(density=0.66, t1_ms=(850, 950), t2_ms=(45, 42)),
    "annulus": Tissue(density=0.62, t1_ms=(820, 920), t2_ms=(33, 31)),
    "oedema": Tissue(density=0.85, t1_ms=(1250, 1400), t2_ms=(85, 82)),
    "slow blood": Tissue(density=0.80, t1_ms=(1441, 1932), t2_ms=(180, 150)),
    "flow void": Tissue(density=0.10, t1_ms=(1441, 1932), t2_ms=(60, 50)),
    "liver": Tissue(density=0.75, t1_ms=(586, 809), t2_ms=(46, 34)),
    "bowel wall": Tissue(density=0.78, t1_ms=(900, 1000), t2_ms=(45, 42)),
    "bowel content": Tissue(density=0.80, t1_ms=(900, 1100), t2_ms=(75, 70)),
    "urine": Tissue(density=1.0, t1_ms=(3000, 3200), t2_ms=(900, 800)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SpinEcho:
    """One clinical (fast) spin-echo protocol.

    Attributes:
        repetition_ms: TR.
        echo_ms: effective TE.
        field_tesla: 1.5 or 3.0.
        fast: an echo train, in which the J-coupling of lipids is undone and fat stays bright
            (Henkelman et al., J Magn Reson Imaging 1994;4:533).
    """

    repetition_ms: float
    echo_ms: float
    field_tesla: float
    fast: bool

    def __post_init__(self) -> None:
        if self.field_tesla not in (1.5, 3.0):
            raise ValueError(
                f"field {self.field_tesla} T has no relaxation times here; there are 1.5 and 3.0"
            )
        if not 0 < self.echo_ms < self.repetition_ms:
            raise ValueError(f"echo time {self.echo_ms} ms is not between 0 and TR {self.repetition_ms} ms")


def spin_echo_signal(
    density: Array | float, t1_ms: Array | float, t2_ms: Array | float, protocol: SpinEcho
) -> Array:
    """Magnitude of a 90-180 spin echo: ``density * (1 - exp(-TR/T1)) * exp(-TE/T2)``.

    Args:
        density: relative proton density, any shape.
        t1_ms: longitudinal relaxation time, same shape, > 0.
        t2_ms: transverse relaxation time, same shape, > 0.
        protocol: repetition and echo time.

    Returns:
        Signal of the same shape, in units of the signal of fully relaxed water (0-1).

    Source: Bernstein, King and Zhou, Handbook of MRI Pulse Sequences (2004), spin echo, for TE << TR.
    """
    recovery = -np.expm1(-protocol.repetition_ms / np.asarray(t1_ms, dtype=np.float64))
    decay = np.exp(-protocol.echo_ms / np.asarray(t2_ms, dtype=np.float64))
    return np.asarray(density, dtype=np.float64) * recovery * decay


def tissue_signal(name: str, protocol: SpinEcho) -> float:
    """Signal (0-1) of a tissue of ``TISSUES`` under a protocol.

    Raises:
        KeyError: no such tissue.
    """
    tissue = TISSUES[name]
    column = 0 if protocol.field_tesla == 1.5 else 1
    t2_ms = tissue.t2_ms[column]
    if protocol.fast:
        t2_ms *= 1 + (FAST_SPIN_ECHO_FAT - 1) * tissue.fat
    return float(spin_echo_signal(tissue.density, tissue.t1_ms[column], t2_ms, protocol))


def draw_protocol(rng: np.random.Generator, contrast: str, field_tesla: float) -> SpinEcho:
    """A protocol within clinical ranges for the lumbar spine.

    T1: TR 400-750 ms, TE 7-14 ms. T2: TR 2500-4500 ms, TE 85-125 ms. Both fast spin echo.

    Args:
        rng: the only source of random numbers.
        contrast: ``"t1"`` or ``"t2"``.
        field_tesla: 1.5 or 3.0.
    """
    if contrast == "t1":
        return SpinEcho(
            repetition_ms=rng.uniform(400, 750),
            echo_ms=rng.uniform(7, 14),
            field_tesla=field_tesla,
            fast=True,
        )
    if contrast == "t2":
        return SpinEcho(
            repetition_ms=rng.uniform(2500, 4500),
            echo_ms=rng.uniform(85, 125),
            field_tesla=field_tesla,
            fast=True,
        )
    raise ValueError(f"contrast {contrast!r} is not 't1' or 't2'")

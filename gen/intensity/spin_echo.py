"""Spin-echo signal of tissues from their published relaxation times.

The phantom's images come from this model alone, the generator's mostly from class means: so training and
test images come from different models.

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

FAST_SPIN_ECHO_FAT = 2.0
"""Factor of an echo train on the T2 of lipid, whose J-coupling it undoes: fat stays bright (Henkelman et al.,
J Magn Reson Imaging 1994;4:533)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tissue:
    """Relative proton density, T1 and T2 in ms at 1.5 T and 3 T, share (0-1) of lipid in the signal."""

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

_PROTOCOLS_MS = {"t1": ((400, 750), (7, 14)), "t2": ((2500, 4500), (85, 125))}
"""Clinical ranges of TR and TE for the lumbar spine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpinEcho:
    """One clinical fast spin-echo protocol: TR, effective TE, 1.5 or 3.0 T."""

    repetition_ms: float
    echo_ms: float
    field_tesla: float


def spin_echo_signal(
    density: np.ndarray | float, t1_ms: np.ndarray | float, t2_ms: np.ndarray | float, protocol: SpinEcho
) -> np.ndarray:
    """Magnitude of a 90-180 spin echo: ``density * (1 - exp(-TR/T1)) * exp(-TE/T2)``.

    Proton density and relaxation times (above 0) have one shape, which is that of the signal. The unit is the
    signal of fully relaxed water.

    Source: Bernstein, King and Zhou, Handbook of MRI Pulse Sequences (2004), spin echo, for TE << TR.
    """
    recovery = -np.expm1(-protocol.repetition_ms / np.asarray(t1_ms, dtype=np.float64))
    decay = np.exp(-protocol.echo_ms / np.asarray(t2_ms, dtype=np.float64))
    return np.asarray(density, dtype=np.float64) * recovery * decay


def tissue_signal(name: str, protocol: SpinEcho) -> float:
    """Signal (0-1) of a tissue of ``TISSUES`` under a protocol; KeyError if there is no such tissue."""
    tissue = TISSUES[name]
    column = 0 if protocol.field_tesla == 1.5 else 1
    t2_ms = tissue.t2_ms[column] * (1 + (FAST_SPIN_ECHO_FAT - 1) * tissue.fat)
    return float(spin_echo_signal(tissue.density, tissue.t1_ms[column], t2_ms, protocol))


def draw_protocol(rng: np.random.Generator, contrast: str, field_tesla: float) -> SpinEcho:
    """A fast spin-echo protocol within clinical ranges, for ``"t1"`` or ``"t2"`` and 1.5 or 3.0 T."""
    repetition_ms, echo_ms = (rng.uniform(*limits) for limits in _PROTOCOLS_MS[contrast])
    return SpinEcho(repetition_ms=repetition_ms, echo_ms=echo_ms, field_tesla=field_tesla)

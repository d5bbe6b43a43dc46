"""Which tissue codes the phantom is painted with, and what signal and texture each of them has."""

import numpy as np

from synthspine.gen.intensity.spin_echo import TISSUES, SpinEcho, tissue_signal
from synthspine.gen.phantom.anatomy import Anatomy, Array

CODES = 256
_PLAIN = tuple(TISSUES)
# Tissues that differ from level to level: their base + rank (sacral segments have rank 0 to -4).
NUCLEUS, MARROW, CHANGE = 100, 130, 160
FATTY_MUSCLE, FATTY_LIGAMENT, KIDNEY_CORTEX, KIDNEY_MEDULLA = 200, 201, 202, 203

_TEXTURE = {
    "marrow": 0.07,
    "fat": 0.07,
    "muscle": 0.10,
    "liver": 0.12,
    "bowel wall": 0.22,
    "bowel content": 0.22,
    "nerve root": 0.08,
    "cord": 0.03,
    "fibrous": 0.25,
    "flow void": 0.4,
}


def code(name: str) -> int:
    """Tissue code of a tissue of ``gen.intensity.spin_echo.TISSUES``."""
    return _PLAIN.index(name)


def signal_table(anatomy: Anatomy, protocol: SpinEcho) -> Array:
    """Signal of every tissue code, ``(256,)`` float32; level-dependent tissues are mixtures of plain ones."""
    signal = {name: tissue_signal(name, protocol) for name in _PLAIN}
    table = np.zeros(CODES, dtype=np.float32)
    table[: len(_PLAIN)] = [signal[name] for name in _PLAIN]
    table[FATTY_MUSCLE] = _mix(signal["muscle"], signal["fat"], 0.45)
    table[FATTY_LIGAMENT] = _mix(signal["fibrous"], signal["fat"], 0.45)
    # T1 and T2 as de Bazelaire et al. (2004) found them in kidneys.
    table[[KIDNEY_CORTEX, KIDNEY_MEDULLA]] = signal["bowel content"], signal["oedema"]
    for disc in anatomy.discs:
        table[NUCLEUS + disc.rank] = _mix(signal["nucleus dry"], signal["nucleus hydrated"], disc.hydration)
    for vertebra in (*anatomy.vertebrae, *anatomy.sacrum):
        table[MARROW + vertebra.rank] = _mix(signal["marrow"], signal["fat"], vertebra.marrow_fat)
        other = "fat" if vertebra.change_is_fat else "oedema"
        table[CHANGE + vertebra.rank] = _mix(signal["marrow"], signal[other], 0.7)
    return table


def texture_table(anatomy: Anatomy) -> Array:
    """Relative deviation of the signal within every tissue code, ``(256,)`` float32."""
    table = np.zeros(CODES, dtype=np.float32)
    for name, deviation in _TEXTURE.items():
        table[code(name)] = deviation
    table[[FATTY_MUSCLE, FATTY_LIGAMENT]] = 0.25
    table[[KIDNEY_CORTEX, KIDNEY_MEDULLA]] = 0.06
    for disc in anatomy.discs:
        table[NUCLEUS + disc.rank] = 0.08
    for vertebra in (*anatomy.vertebrae, *anatomy.sacrum):
        table[MARROW + vertebra.rank] = 0.06 + 0.06 * anatomy.age / 80
        table[CHANGE + vertebra.rank] = 0.15
    return table


def _mix(first: float, second: float, share: float) -> float:
    return first + (second - first) * share

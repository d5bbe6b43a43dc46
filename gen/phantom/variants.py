"""Variants of anatomy and diseases of the phantom's spine, each drawn with a probability."""

from dataclasses import dataclass

import numpy as np

PROBABILITY = {
    "scoliosis": 0.15,
    "sacralised": 0.06,
    "lumbarised": 0.05,
    "remnant": 0.3,
    "lysis": 0.5,
    "fractures": 0.04,
    "laminectomy": 0.07,
}
"""Share of patients; ``lysis`` of those whose L5 slipped, ``fractures`` doubled above 60 years."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variants:
    """What deviates in one patient; lengths in mm, angles in degrees."""

    cobb_deg: float = 0.0  # of a lateral curve, positive = convex to the right
    curve_mm: float = 250.0  # its length, from the sacrum upward
    sacralised: bool = False  # L5 is joined to the sacrum by its transverse processes
    lumbarised: bool = False  # S1 is free: six lumbar vertebrae
    remnant: tuple[float, float] = (9.0, 1.6)  # radius and half height of the disc within the sacrum
    lysis: bool = False  # a slip leaves the arch behind
    losses: tuple[tuple[int, float], ...] = ()  # ``(rank, share of the front height)`` of wedge fractures
    laminectomy: tuple[int, ...] = ()  # ranks whose laminae and spinous process were removed
    seroma: float = 0.0  # radius of a pocket of fluid in their place; 0 = none

    @property
    def lumbar(self) -> int:
        """Number of free lumbar vertebrae."""
        return 6 if self.lumbarised else 5

    def sideways(self, y_mm: float) -> tuple[float, float]:
        """Lateral offset of the column at height ``y_mm`` (negative above the sacrum) and its slope."""
        share = -y_mm / self.curve_mm
        if not 0 < share < 1:
            return 0.0, 0.0
        steepest = np.tan(np.deg2rad(self.cobb_deg / 2))
        offset = steepest * self.curve_mm / np.pi * (1 - np.cos(2 * np.pi * share)) / 2
        return float(offset), float(-steepest * np.sin(2 * np.pi * share))


def draw_variants(rng: np.random.Generator, age: float) -> Variants:
    """Variants of a patient of that age in years; most have few or none."""
    present = {name: bool(rng.uniform() < share) for name, share in PROBABILITY.items()}
    present["fractures"] |= bool(age > 60 and rng.uniform() < PROBABILITY["fractures"])
    cobb_deg = rng.uniform(10, 35) * rng.choice((-1, 1))
    broken = rng.choice(np.arange(3, 9), int(rng.integers(1, 4)), replace=False)
    losses = rng.uniform(0.12, 0.40, len(broken))
    remnant = rng.uniform((11, 2.0), (15, 3.0)) if present["remnant"] else rng.uniform((4, 1.2), (10, 1.8))
    lowest, levels = int(rng.integers(1, 5)), int(rng.integers(1, 3))
    seroma = rng.uniform(4, 10) * (rng.uniform() < 0.35)
    return Variants(
        cobb_deg=float(cobb_deg) * present["scoliosis"],
        curve_mm=rng.uniform(190, 290),
        sacralised=present["sacralised"],
        lumbarised=present["lumbarised"] and not present["sacralised"],
        remnant=(float(remnant[0]), float(remnant[1])),
        lysis=present["lysis"],
        losses=tuple(zip(map(int, broken), map(float, losses), strict=True)) if present["fractures"] else (),
        laminectomy=tuple(range(lowest, lowest + levels)) if present["laminectomy"] else (),
        seroma=float(seroma),
    )

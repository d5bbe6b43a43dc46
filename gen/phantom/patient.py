"""Drawing one patient of the phantom: degeneration, bones, canal, surroundings."""

from dataclasses import replace

import numpy as np

from synthspine.gen.phantom.anatomy import Anatomy, Array, Disc, Surroundings, Vertebra
from synthspine.gen.phantom.column import LEVELS, stack_column
from synthspine.gen.phantom.variants import Variants, draw_variants

STREAM_ANATOMY = 1

# Middle of the thecal sac, share of the bony canal's depth: SPIDER's masks leave 2 to 5 mm in front of it
# at the middle of a body.
_SAC_PLACE = (0.30, 0.42)


def phantom_patient(seed: int, patient: int, variants: Variants | None = None) -> Anatomy:
    """Draw the anatomy of one patient; the same for the same ``(seed, patient)``, both >= 0.

    ``variants`` replaces those that are drawn.
    """

    def own(number: int) -> np.random.Generator:
        """A stream of its own: what is drawn from the common one stays what it was."""
        return np.random.default_rng([seed, patient, STREAM_ANATOMY, number])

    rng = np.random.default_rng([seed, patient, STREAM_ANATOMY])
    age = rng.uniform(22, 82)
    size = rng.normal(1.0, 0.055)
    discs = tuple(_draw_disc(rng, rank, age) for rank in range(1, LEVELS + 1))
    variants = draw_variants(own(4), age) if variants is None else variants
    if variants.sacralised or variants.lumbarised:
        # The disc below a transitional vertebra bears little and stays small.
        discs = (replace(discs[0], bulge=0.0, protrusion=0.0, extent=0.8), *discs[1:])
    vertebrae, sacrum = stack_column(rng, age, size, discs, variants)
    nearness = float(own(1).uniform(*_SAC_PLACE))
    canal, arc, landmarks = _canal_line(vertebrae, sacrum, nearness)
    half_depth, half_width = _sac_size(rng, arc, size)
    own_canal = own(5)
    narrow = _narrowing(own_canal, arc, landmarks, discs)
    half_depth, half_width = half_depth * (1 - narrow), half_width * (1 - 0.6 * narrow)
    # Levels that surroundings keep to, whatever the number of free vertebrae.
    landmarks = {rank: landmarks[rank + variants.lumbar - 5] for rank in range(1, 6)}
    conus = float(landmarks[5] + rng.normal(8, 14))
    return Anatomy(
        seed=seed,
        patient=patient,
        age=age,
        visible=int(rng.choice((6, 7, 8, 9), p=(0.3, 0.42, 0.22, 0.06))),
        cut=rng.uniform(0.3, 0.9),
        vertebrae=vertebrae,
        discs=discs,
        sacrum=sacrum,
        canal=canal,
        canal_arc=arc,
        canal_half_depth=half_depth,
        canal_half_width=half_width,
        conus=conus,
        sac_end=rng.uniform(36, 66),
        label_end=float(np.clip(rng.normal(26, 13), -2, 60)) + 4,
        label_taper=own_canal.uniform(2, 34),
        lumbar=variants.lumbar,
        remnant=variants.remnant,
        surroundings=_draw_surroundings(rng, own(3), age, landmarks),
    )


def _draw_disc(rng: np.random.Generator, rank: int, age: float) -> Disc:
    lower = max(0.0, 3.2 - rank) / 2.2
    wear = np.clip((age - 25) / 60 + 0.30 * lower + rng.normal(0, 0.24), 0, 1)
    slipped = rank <= 4 and rng.uniform() < 0.22 * wear + 0.04
    return Disc(
        rank=rank,
        hydration=float(1 - wear),
        bulge=float(np.clip(rng.normal(0.4 + 1.8 * wear, 0.5), 0, 3)),
        protrusion=rng.uniform(2, 5.5) if slipped else 0.0,
        protrusion_u=rng.normal(0, 6),
        cleft=bool(rng.uniform() < 0.6),
    )


def _canal_line(
    vertebrae: tuple[Vertebra, ...], sacrum: tuple[Vertebra, ...], place: float
) -> tuple[Array, Array, dict[int, float]]:
    """Centre line of the thecal sac, its arc length, arc length by rank.

    It runs through points behind every body, at the share ``place`` of the bony canal's depth.
    """
    column = [*reversed(vertebrae), *sacrum]
    knots = np.stack([v.centre + v.axes[2] * (v.depth / 2 + place * v.canal_depth) for v in column])
    top = knots[0] + (knots[0] - knots[1]) * 3
    bottom = knots[-1] + (knots[-1] - knots[-2]) * 3
    knots = np.concatenate([top[None], knots, bottom[None]])
    chord = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    fine = np.arange(0, chord[-1], 2.0)
    line = np.stack([np.interp(fine, chord, knots[:, axis]) for axis in range(3)], axis=1)
    kernel = np.exp(-0.5 * (np.arange(-15, 16) / 5.0) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(line, ((15, 15), (0, 0)), mode="reflect", reflect_type="odd")
    line = np.stack([np.convolve(padded[:, axis], kernel, mode="valid") for axis in range(3)], axis=1)
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    plate = sacrum[0].centre + sacrum[0].axes[1] * sacrum[0].height / 2 + sacrum[0].axes[2] * 25.0

    def nearest(target: Array) -> float:
        return float(arc[np.argmin(np.linalg.norm(line - target, axis=1))])

    zero = nearest(plate)
    landmarks = {v.rank: nearest(v.centre + v.axes[2] * 25.0) - zero for v in column}
    return line, arc - zero, landmarks


def _sac_size(rng: np.random.Generator, arc: Array, size: float) -> tuple[Array, Array]:
    """Half depth and half width of the thecal sac along the canal, mm."""
    depth = np.clip(rng.normal(15.7, 1.8), 11.4, 19.6) * size / 2
    width = np.clip(rng.normal(20.6, 1.9), 15.5, 25) * size / 2
    level = np.array([-260.0, -150.0, -60.0, 0.0, 30.0, 60.0])
    half_depth = np.interp(arc, level, depth * np.array([0.98, 1.02, 0.98, 0.90, 0.72, 0.50]))
    half_width = np.interp(arc, level, width * np.array([0.88, 0.98, 1.02, 0.98, 0.80, 0.45]))
    return half_depth, half_width


def _narrowing(
    rng: np.random.Generator, arc: Array, landmarks: dict[int, float], discs: tuple[Disc, ...]
) -> Array:
    """Share by which the sac is narrower along the canal: at the discs, and in small waves everywhere.

    Worn discs and the ligaments behind them press on the sac; at some levels little of it is left.
    """
    waves = rng.uniform(0.005, 0.035, 4)
    lengths, phases = rng.uniform(8, 34, 4), rng.uniform(0, 2 * np.pi, 4)
    narrow = (waves[:, None] * np.sin(2 * np.pi * arc / lengths[:, None] + phases[:, None])).sum(axis=0)
    for disc in discs[:7]:
        wear = 1 - disc.hydration
        share = np.clip(rng.normal(0.04 + 0.12 * wear, 0.07), 0, 0.4)
        severe = rng.uniform(0.2, 0.45) if rng.uniform() < 0.16 * wear else 0.0
        level = (landmarks[disc.rank] + landmarks[disc.rank - 1]) / 2
        narrow += (share + severe) * np.exp(-0.5 * ((arc - level) / rng.uniform(3.5, 7)) ** 2)
    return np.clip(narrow, -0.15, 0.8)


def _draw_surroundings(
    rng: np.random.Generator, own: np.random.Generator, age: float, landmarks: dict[int, float]
) -> Surroundings:
    fat = float(np.clip(rng.gamma(4.0, 3.6), 5, 38))
    return Surroundings(
        muscle_depth=rng.normal(50, 3),
        fat_thickness=fat,
        fat_gain=rng.uniform(4, 22),
        muscle_fat=float(np.clip((age - 20) / 90 + rng.normal(0, 0.18), 0.05, 0.95)),
        belly_depth=rng.uniform(70, 150),
        belly_fat=float(np.clip(0.9 * fat + rng.normal(0, 5), 6, 45)),
        vessel_radius=rng.uniform(7, 10),
        bifurcation=float(landmarks[2] + rng.normal(5, 8)),
        liver_edge=float(landmarks[3] + rng.normal(-25, 25) - 200 * (rng.uniform() < 0.4)),
        bladder=(rng.uniform(70, 105), rng.uniform(-85, -40), rng.uniform(14, 32) * (rng.uniform() < 0.5)),
        visceral_fat=rng.uniform(0, 1),
        # The right kidney lies lower, under the liver.
        kidneys=(own.normal(24, 9), own.normal(10, 9), own.normal(54, 4)),
    )

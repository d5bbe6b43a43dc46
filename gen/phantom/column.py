"""The bones of one patient of the phantom: vertebrae stacked upward and the sacrum, by level.

Sizes by level start from published morphometry (Panjabi et al., Spine 1992;17:299, lumbar vertebrae, and
Spine 1991;16:888, thoracic vertebrae; Gilad and Nissan, Spine 1986;11:154, disc heights). They are adjusted
to the mean areas, lengths and inclinations of SPIDER's annotations: these patients lie supine and have back
pain, so their discs are lower and their lordosis is less than in healthy standing adults.
"""

from dataclasses import dataclass, replace

import numpy as np

from synthspine.gen.phantom.anatomy import Array, Disc, Vertebra
from synthspine.gen.phantom.variants import Variants

LEVELS = 10

# One entry per rank, 1 = L5 ... 10 = T8; mm and degrees.
_BODY_HEIGHT = (28.4, 29.2, 28.6, 28.4, 28.0, 27.4, 25.6, 24.0, 23.0, 22.2)
_BODY_DEPTH = (36.0, 38.0, 39.2, 38.2, 35.4, 33.4, 31.8, 30.6, 29.6, 28.8)
_BODY_WIDTH = (50.5, 47.5, 46.0, 43.0, 41.5, 39.5, 37.5, 35.0, 33.0, 31.5)
_BODY_WEDGE = (8.5, 3.0, 0.5, -1.0, -2.5, -3.0, -3.0, -3.0, -3.0, -3.0)
_DISC_HEIGHT = (8.4, 7.6, 6.4, 6.0, 5.4, 4.2, 3.4, 3.1, 3.0, 2.9)
_THINNEST_DISC = 2.4  # before a transitional level halves it
_DISC_WEDGE = (12.0, 10.0, 8.0, 6.0, 4.0, 2.0, 0.5, 0.0, 0.0, 0.0)
_PEDICLE_GAP = (27.0, 25.0, 23.5, 22.8, 22.2, 20.5, 18.0, 17.0, 17.0, 17.0)
_PEDICLE_WIDTH = (12.0, 10.5, 9.0, 8.0, 7.5, 7.5, 7.0, 6.5, 6.0, 6.0)
_TRANSVERSE_REACH = (39.0, 37.0, 40.0, 36.0, 33.0, 23.0, 25.0, 28.0, 30.0, 31.0)
_SPINOUS_LENGTH = (20.0, 33.0, 35.0, 35.0, 28.0, 27.0, 26.0, 27.0, 28.0, 28.0)
_SPINOUS_HALF_HEIGHT = (5.6, 7.8, 8.4, 8.2, 6.2, 6.0, 5.0, 4.6, 4.4, 4.4)
_SPINOUS_SPREAD = ((0.28, 0.32), (0.144, 0.17))  # relative deviations of length and height: L5, others
_SPINOUS_RANGE = (0.5, 1.7)  # of both, relative to the means
_SPINOUS_SLOPE = (30.0, 14.0, 10.0, 10.0, 13.0, 20.0, 32.0, 42.0, 48.0, 50.0)

# Sacral segments S1 ... S5: height, depth, half width, turn against the segment above (deg), gap above (mm).
_SACRUM = (
    (29.0, 28.0, 50.0, 3.0, 0.0),
    (24.0, 20.0, 44.0, 6.0, 3.0),
    (20.0, 14.5, 38.0, -14.0, 1.6),
    (17.0, 11.0, 32.0, -20.0, 1.2),
    (15.0, 9.0, 24.0, -18.0, 1.2),
)


def stack_column(
    rng: np.random.Generator, age: float, size: float, discs: tuple[Disc, ...], variants: Variants
) -> tuple[tuple[Vertebra, ...], tuple[Vertebra, ...]]:
    """Stack vertebrae upward and sacral segments downward from the sacral end plate."""
    slope_deg = float(np.clip(rng.normal(31.5, 7.0), 17, 48))
    lordosis = 0.45 + 0.55 * slope_deg / 31.5 + rng.normal(0, 0.06)
    bend_mm = float(np.clip(rng.normal(0, 3.2), -11, 11))
    bend_length, bend_phase = rng.uniform(200, 320), rng.uniform(0, 2 * np.pi)
    slip_rank = int(rng.choice((1, 2))) if rng.uniform() < 0.10 else 0
    fracture_rank = int(rng.choice((4, 5, 6, 7))) if rng.uniform() < 0.02 + 0.10 * (age > 60) else 0
    marrow_fat = float(np.clip((age - 20) / 150 + rng.normal(0, 0.08), 0, 0.5))
    relative = {name: rng.normal(1, 0.04) for name in ("height", "depth", "width", "disc", "spinous")}
    canal_depth = rng.normal(19.4, 1.2) * size
    losses = dict(variants.losses)
    build = _Build(age=age, size=size, relative=relative, marrow_fat=marrow_fat, canal_depth=canal_depth)

    def sideways(y_mm: float) -> tuple[float, float]:
        """Lateral offset and its slope at height ``y_mm``, both zero in the sacrum."""
        angle, start = 2 * np.pi * y_mm / bend_length, bend_phase
        bend = bend_mm * (1 - np.exp(-((y_mm / 60) ** 2)) if y_mm < 0 else 0.0)
        offset, slope = variants.sideways(y_mm)
        return (
            offset + bend * np.sin(angle + start),
            slope + bend * np.cos(angle + start) * 2 * np.pi / bend_length,
        )

    vertebrae = []
    tilt, point = slope_deg, np.zeros(2)
    for rank in range(1, LEVELS + 1):
        transitional = rank == 1 and (variants.sacralised or variants.lumbarised)
        column, wear = _column(variants, rank), 1 - discs[rank - 1].hydration
        height_factor = (1.14 - 0.55 * wear**2) * rng.normal(1, 0.14)
        disc_height = max(_DISC_HEIGHT[column] * size * relative["disc"] * height_factor, _THINNEST_DISC)
        disc_wedge = _DISC_WEDGE[column] * lordosis * (1.1 - 0.4 * wear) + rng.normal(0, 1.2)
        if transitional:
            disc_height, disc_wedge = 0.5 * disc_height, 0.7 * disc_wedge
        point = point + _up(tilt - disc_wedge / 2) * disc_height
        tilt -= disc_wedge
        slip = rng.uniform(2.5, 11) if rank == slip_rank else 0.0
        point = point - _back(tilt) * slip
        height = _BODY_HEIGHT[column] * size * relative["height"] * rng.normal(1, 0.025)
        wedge = _BODY_WEDGE[column] + rng.normal(0, 1.3)
        hollow = np.abs(rng.normal((1.3, 1.6), 0.5)) + 0.4
        loss = losses.get(rank, 0.0)
        if rank == fracture_rank:
            loss = rng.uniform(0.12, 0.40)
            hollow = hollow + rng.uniform(0, 2.5, 2)
        height, wedge = height * (1 - 0.7 * loss), wedge - 24 * loss
        point = point + _up(tilt - wedge / 2) * height / 2
        across, slope = sideways(point[0])
        # The bodies of a lateral curve turn to its outer side.
        curve, steep = variants.sideways(point[0])
        turn_deg = 12 * bend_mm * (slope - steep) - 0.5 * curve
        centre, axes = _frame(point, tilt - wedge / 2, across, slope, turn_deg)
        point = point + _up(tilt - wedge / 2) * height / 2
        tilt -= wedge
        hydration = (discs[rank].hydration if rank < LEVELS else 1.0, discs[rank - 1].hydration)
        vertebra = _draw_vertebra(rng, build, rank, column, centre, axes, height, wedge, hollow, hydration)
        vertebrae.append(
            replace(
                vertebra,
                left_behind=slip if variants.lysis and rank == 1 else 0.0,
                removed=rank in variants.laminectomy,
                seroma=variants.seroma if rank in variants.laminectomy else 0.0,
                fused=transitional and variants.sacralised,
            )
        )
    return tuple(vertebrae), _sacrum(rng, build, slope_deg)


def _column(variants: Variants, rank: int) -> int:
    """Place of a vertebra in the tables; the additional one of six is like L5."""
    return max(rank - 1 - (variants.lumbar - 5), 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Build:
    """What all vertebrae of a patient share; ``relative`` holds factors on published sizes."""

    age: float
    size: float
    relative: dict[str, float]
    marrow_fat: float
    canal_depth: float


def _draw_vertebra(
    rng: np.random.Generator,
    build: _Build,
    rank: int,
    column: int,
    centre: Array,
    axes: Array,
    height: float,
    wedge_deg: float,
    hollow: Array,
    hydration: tuple[float, float],
) -> Vertebra:
    """A vertebra at its place, sizes by ``column``; ``hydration`` is that of the discs above and below."""
    size, relative = build.size, build.relative
    worn = 1 - min(hydration)
    depth = _BODY_DEPTH[column] * size * relative["depth"]
    nodes = tuple(
        (float(side), rng.normal(0, 6), rng.uniform(-0.45, 0.3) * depth, rng.uniform(1.5, 4.5))
        for side in (1, -1)
        if rng.uniform() < 0.07 + 0.06 * worn
    )
    spread = _SPINOUS_SPREAD[min(column, 1)]
    changes = tuple(
        rng.uniform(4, 11) if rng.uniform() < 0.35 * max(0.0, 0.75 - moist) else 0.0 for moist in hydration
    )
    lesion_centre = (rng.normal(0, 8), rng.normal(0, 4), rng.normal(0, 6))
    lesion = (*lesion_centre, rng.uniform(4, 8) * (rng.uniform() < 0.04))
    return Vertebra(
        rank=rank,
        centre=centre,
        axes=axes,
        width=_BODY_WIDTH[column] * size * relative["width"] * rng.normal(1, 0.02),
        depth=depth * rng.normal(1, 0.02),
        height=height,
        wedge_deg=wedge_deg,
        taper=rng.normal(0.0, 0.02),
        concavity_top=float(hollow[0]),
        concavity_bottom=float(hollow[1]),
        waist=rng.uniform(0.07, 0.13),
        lip=float(np.clip(rng.normal(3.2 * worn * (build.age > 45), 0.8), 0, 4.5)),
        nodes=nodes,
        marrow_fat=float(np.clip(build.marrow_fat + rng.normal(0, 0.02), 0, 0.6)),
        end_plate_change=(changes[0], changes[1]),
        change_is_fat=bool(rng.uniform() < 0.7),
        lesion=lesion,
        pedicle_gap=_PEDICLE_GAP[column] * size * rng.normal(1, 0.03),
        pedicle_width=_PEDICLE_WIDTH[column] * size * rng.normal(1, 0.06),
        canal_depth=build.canal_depth,
        transverse_reach=_TRANSVERSE_REACH[column] * size * rng.normal(1, 0.05),
        roughness=(rng.uniform(0.2, 0.7), rng.uniform(0, 6.3), rng.uniform(0, 6.3)),
        spinous=(
            _SPINOUS_LENGTH[column]
            * size
            * relative["spinous"]
            * float(np.clip(rng.normal(1, spread[0]), *_SPINOUS_RANGE)),
            _SPINOUS_HALF_HEIGHT[column] * size * float(np.clip(rng.normal(1, spread[1]), *_SPINOUS_RANGE)),
            _SPINOUS_SLOPE[column] + rng.normal(0, 7),
            rng.uniform(1.9, 3.9),
        ),
    )


def _sacrum(rng: np.random.Generator, build: _Build, slope_deg: float) -> tuple[Vertebra, ...]:
    segments = []
    size = build.size * build.relative["depth"]
    tilt, point = slope_deg, np.zeros(2)
    bend = rng.normal(1, 0.2)
    for number, (height, depth, half_width, turn, gap) in enumerate(_SACRUM):
        tilt += turn * (bend if number > 1 else 1)
        step = height * size / 2
        point = point - _up(tilt) * (gap + step)
        # The segments share their posterior wall, so a thinner one lies further back.
        offset = (_SACRUM[0][1] - depth) / 2 * size * 0.75
        centre, axes = _frame(point + _back(tilt) * offset, tilt, 0.0, 0.0, turn_deg=0.0)
        point = point - _up(tilt) * step
        segments.append(
            Vertebra(
                rank=-number,
                centre=centre,
                axes=axes,
                width=2 * half_width * size,
                depth=depth * size,
                height=height * size,
                wedge_deg=2.0,
                taper=(0.34, 0.24, 0.2, 0.2, 0.2)[number],
                concavity_top=0.8,
                concavity_bottom=0.3,
                waist=0.02,
                wing=0.30 if number == 0 else 0.0,
                sacral=True,
                marrow_fat=min(0.6, build.marrow_fat + 0.06),
                pedicle_gap=30.0 - 3 * number,
                pedicle_width=16.0,
                canal_depth=build.canal_depth - 2.0 - 2.6 * number,
                roughness=(0.4, float(number), 0.5),
                spinous=(9.0 - 1.5 * number, 6.5 - 0.5 * number, 0.0, 3.0),
            )
        )
    return tuple(segments)


def _up(tilt_deg: float) -> Array:
    """Unit vector (y, z) along the spine upward; positive tilt leans forward."""
    angle = np.deg2rad(tilt_deg)
    return np.array([-np.cos(angle), -np.sin(angle)])


def _back(tilt_deg: float) -> Array:
    """Unit vector (y, z) to the back."""
    angle = np.deg2rad(tilt_deg)
    return np.array([-np.sin(angle), np.cos(angle)])


def _frame(
    point: Array, tilt_deg: float, across: float, slope: float, turn_deg: float
) -> tuple[Array, Array]:
    """Centre and axes of a body at ``point`` (y, z), leaning sideways by ``slope`` and turned."""
    up, back = _up(tilt_deg), _back(tilt_deg)
    v = np.array([slope * up[0], *up])
    v /= np.linalg.norm(v)
    turn = np.deg2rad(turn_deg)
    w = np.array([np.sin(turn), *(np.cos(turn) * back)])
    w -= v * (v @ w)
    w /= np.linalg.norm(w)
    u = np.cross(v, w)
    u *= np.sign(u[0])
    return np.array([across, *point]), np.stack([u, v, w])

"""Drawing one patient of the phantom: alignment, sizes, degeneration, canal, surroundings.

Sizes by level start from published morphometry (Panjabi et al., Spine 1992;17:299, lumbar vertebrae, and
Spine 1991;16:888, thoracic vertebrae; Gilad and Nissan, Spine 1986;11:154, disc heights). They are adjusted
to the mean areas, lengths and inclinations of SPIDER's annotations: these patients lie supine and have back
pain, so their discs are lower and their lordosis is less than in healthy standing adults.
"""

from dataclasses import dataclass

import numpy as np

from synthspine.gen.phantom.anatomy import Anatomy, Array, Disc, Surroundings, Vertebra

LEVELS = 10
STREAM_ANATOMY = 1

# One entry per rank, 1 = L5 ... 10 = T8; mm and degrees.
_BODY_HEIGHT = (28.4, 29.2, 28.6, 28.4, 28.0, 27.4, 25.6, 24.0, 23.0, 22.2)
_BODY_DEPTH = (35.8, 36.8, 36.8, 35.6, 34.2, 33.0, 31.6, 30.6, 29.6, 28.8)
_BODY_WIDTH = (50.5, 47.5, 46.0, 43.0, 41.5, 39.5, 37.5, 35.0, 33.0, 31.5)
_BODY_WEDGE = (8.5, 3.0, 0.5, -1.0, -2.5, -3.0, -3.0, -3.0, -3.0, -3.0)
_DISC_HEIGHT = (6.8, 6.8, 6.4, 5.8, 5.3, 4.2, 3.4, 3.1, 3.0, 2.9)
_DISC_WEDGE = (12.0, 10.0, 8.0, 6.0, 4.0, 2.0, 0.5, 0.0, 0.0, 0.0)
_PEDICLE_GAP = (27.0, 25.0, 23.5, 22.8, 22.2, 20.5, 18.0, 17.0, 17.0, 17.0)
_PEDICLE_WIDTH = (12.0, 10.5, 9.0, 8.0, 7.5, 7.5, 7.0, 6.5, 6.0, 6.0)
_TRANSVERSE_REACH = (39.0, 37.0, 40.0, 36.0, 33.0, 23.0, 25.0, 28.0, 30.0, 31.0)
_SPINOUS_LENGTH = (19.0, 31.0, 35.0, 34.0, 31.0, 27.0, 26.0, 27.0, 28.0, 28.0)
_SPINOUS_HALF_HEIGHT = (4.4, 7.2, 7.9, 8.6, 7.2, 6.0, 5.0, 4.6, 4.4, 4.4)
_SPINOUS_SLOPE = (14.0, 10.0, 8.0, 10.0, 13.0, 20.0, 32.0, 42.0, 48.0, 50.0)

# Middle of the thecal sac, share of the bony canal's depth: SPIDER's masks leave 2 to 5 mm in front of it.
_SAC_PLACE = (0.36, 0.46)

# Sacral segments S1 ... S5: height, depth, half width, turn against the segment above (deg), gap above (mm).
_SACRUM = (
    (29.0, 28.0, 50.0, 3.0, 0.0),
    (24.0, 20.0, 44.0, 6.0, 3.0),
    (20.0, 14.5, 38.0, -14.0, 1.6),
    (17.0, 11.0, 32.0, -20.0, 1.2),
    (15.0, 9.0, 24.0, -18.0, 1.2),
)


def phantom_patient(seed: int, patient: int) -> Anatomy:
    """Draw the anatomy of one patient; the same for the same ``(seed, patient)``, both >= 0."""

    def own(number: int) -> np.random.Generator:
        """A stream of its own: what is drawn from the common one stays what it was."""
        return np.random.default_rng([seed, patient, STREAM_ANATOMY, number])

    rng = np.random.default_rng([seed, patient, STREAM_ANATOMY])
    age = rng.uniform(22, 82)
    size = rng.normal(1.0, 0.055)
    discs = tuple(_draw_disc(rng, rank, age) for rank in range(1, LEVELS + 1))
    vertebrae, sacrum = _stack(rng, age, size, discs)
    nearness = float(own(1).uniform(*_SAC_PLACE))
    canal, arc, landmarks = _canal_line(vertebrae, sacrum, nearness)
    half_depth, half_width = _sac_size(rng, arc, size)
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
        label_end=float(np.clip(rng.normal(26, 13), -2, 60)),
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


def _stack(
    rng: np.random.Generator, age: float, size: float, discs: tuple[Disc, ...]
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
    canal_depth = rng.normal(17.5, 1.1) * size
    build = _Build(age=age, size=size, relative=relative, marrow_fat=marrow_fat, canal_depth=canal_depth)

    def sideways(y_mm: float) -> tuple[float, float]:
        """Lateral offset and its slope at height ``y_mm``, both zero in the sacrum."""
        angle, start = 2 * np.pi * y_mm / bend_length, bend_phase
        bend = bend_mm * (1 - np.exp(-((y_mm / 60) ** 2)) if y_mm < 0 else 0.0)
        return bend * np.sin(angle + start), bend * np.cos(angle + start) * 2 * np.pi / bend_length

    vertebrae = []
    tilt, point = slope_deg, np.zeros(2)
    for rank in range(1, LEVELS + 1):
        column = rank - 1
        wear = 1 - discs[column].hydration
        disc_height = (
            _DISC_HEIGHT[column] * size * relative["disc"] * (1.12 - 0.42 * wear**2) * rng.normal(1, 0.06)
        )
        disc_wedge = _DISC_WEDGE[column] * lordosis * (1.1 - 0.4 * wear) + rng.normal(0, 1.2)
        point = point + _up(tilt - disc_wedge / 2) * disc_height
        tilt -= disc_wedge
        if rank == slip_rank:
            point = point - _back(tilt) * rng.uniform(2.5, 7)
        height = _BODY_HEIGHT[column] * size * relative["height"] * rng.normal(1, 0.025)
        wedge = _BODY_WEDGE[column] + rng.normal(0, 1.3)
        hollow = np.abs(rng.normal((1.3, 1.6), 0.5)) + 0.4
        if rank == fracture_rank:
            loss = rng.uniform(0.12, 0.35)
            height, wedge = height * (1 - 0.7 * loss), wedge - 24 * loss
            hollow = hollow + rng.uniform(0, 2.5, 2)
        point = point + _up(tilt - wedge / 2) * height / 2
        across, slope = sideways(point[0])
        centre, axes = _frame(point, tilt - wedge / 2, across, slope, turn_deg=1.2 * bend_mm * slope * 10)
        point = point + _up(tilt - wedge / 2) * height / 2
        tilt -= wedge
        hydration = (discs[rank].hydration if rank < LEVELS else 1.0, discs[column].hydration)
        vertebrae.append(_draw_vertebra(rng, build, rank, centre, axes, height, wedge, hollow, hydration))
    return tuple(vertebrae), _sacrum(rng, build, slope_deg)


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
    centre: Array,
    axes: Array,
    height: float,
    wedge_deg: float,
    hollow: Array,
    hydration: tuple[float, float],
) -> Vertebra:
    """A vertebra at its place; ``hydration`` is that of the disc above and of the disc below."""
    size, relative = build.size, build.relative
    column, worn = rank - 1, 1 - min(hydration)
    depth = _BODY_DEPTH[column] * size * relative["depth"]
    nodes = tuple(
        (float(side), rng.normal(0, 6), rng.uniform(-0.45, 0.3) * depth, rng.uniform(1.5, 4.5))
        for side in (1, -1)
        if rng.uniform() < 0.07 + 0.06 * worn
    )
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
            _SPINOUS_LENGTH[column] * size * relative["spinous"] * rng.normal(1, 0.07),
            _SPINOUS_HALF_HEIGHT[column] * size * rng.normal(1, 0.09),
            _SPINOUS_SLOPE[column] + rng.normal(0, 3),
            rng.uniform(2.4, 3.6),
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
    depth = np.clip(rng.normal(14.6, 1.7), 10.8, 18) * size / 2
    width = np.clip(rng.normal(20.6, 1.9), 15.5, 25) * size / 2
    level = np.array([-260.0, -150.0, -60.0, 0.0, 30.0, 60.0])
    half_depth = np.interp(arc, level, depth * np.array([0.98, 1.02, 0.98, 0.90, 0.72, 0.50]))
    half_width = np.interp(arc, level, width * np.array([0.88, 0.98, 1.02, 0.98, 0.80, 0.45]))
    return half_depth, half_width


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

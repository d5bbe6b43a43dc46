"""Everything around the spine: muscle, fat, fascia, skin, vessels, bowel, abdominal wall, air."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synthspine.gen.phantom.anatomy import Anatomy, Array, Course
from synthspine.gen.phantom.tissues import FATTY_LIGAMENT, FATTY_MUSCLE, code

Fields = dict[str, Array]


@dataclass(frozen=True, kw_only=True, slots=True)
class SmoothField:
    """A Gaussian random field, mean 0 and deviation 1, as cubic B-splines over a box."""

    origin_mm: Array  # of the first coefficient, ``(3,)`` in x, y, z
    spacing_mm: Array  # of the coefficients = the field's correlation length, ``(3,)``
    coefficients: Array  # ``(X, Y, Z)`` float32

    def planes(self, y_mm: Array, z_mm: Array) -> Callable[[float], Array]:
        """The field on sagittal planes with rows at ``y_mm`` ``(H,)`` and columns at ``z_mm`` ``(W,)``.

        Returns:
            A function from the plane's x in mm to the values there, ``(H, W)`` float32.
        """
        down, back = self._weights(1, y_mm), self._weights(2, z_mm).T

        def plane(x_mm: float) -> Array:
            across = self._weights(0, np.array([x_mm]))[0]
            layers = np.flatnonzero(across)
            return np.asarray(down @ np.tensordot(across[layers], self.coefficients[layers], axes=1) @ back)

        return plane

    def _weights(self, axis: int, points_mm: Array) -> Array:
        """Spline weights ``(points, coefficients)`` of one axis; points outside of the box see its border."""
        count = self.coefficients.shape[axis]
        place = np.clip((points_mm - self.origin_mm[axis]) / self.spacing_mm[axis], 1, count - 2)
        distance = np.abs(place[:, None] - np.arange(count))
        near, far = 2 / 3 - distance**2 * (1 - distance / 2), np.maximum(2 - distance, 0) ** 3 / 6
        weights = np.where(distance < 1, near, far)
        return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)


def draw_field(
    rng: np.random.Generator, low_mm: Array, high_mm: Array, spacing_mm: tuple[float, ...]
) -> SmoothField:
    """A random field over the box ``low_mm`` .. ``high_mm`` (``(3,)`` each) with that correlation length."""
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    shape = np.ceil((high_mm - low_mm) / spacing).astype(int) + 5
    coefficients = rng.standard_normal(tuple(shape), dtype=np.float32)
    return SmoothField(origin_mm=low_mm - 2 * spacing, spacing_mm=spacing, coefficients=coefficients)


STREAM_SOFT = 2
# The box in which the random fields live, x y z in mm; every field of view lies inside.
LOW_MM, HIGH_MM = np.array([-110.0, -340.0, -330.0]), np.array([110.0, 170.0, 160.0])

_FIELDS_MM = {
    "bowel": (13.0, 11.0, 11.0),
    "content": (30.0, 28.0, 28.0),
    "vessels": (9.0, 9.0, 9.0),
    "septa": (9.0, 11.0, 4.5),
}
_STREAK_LAYER_MM, _STREAK_ALONG_MM, _STREAK_BEHIND_MM = 4.0, 2.0, 0.7
_STREAK_SHAPE = (57, 300, 190)


@dataclass(frozen=True, kw_only=True, slots=True)
class Back:
    """Surface of the back in the midline."""

    rows: Array  # y of rows, mm
    fascia_z: Array  # z of the lumbar fascia there, mm
    skin_z: Array  # z of the skin there, mm


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftTissue:
    """Random structure of one patient's soft tissue, drawn once and evaluated on any plane."""

    fields: dict[str, SmoothField]  # cut at thresholds into loops of bowel, gas, vessels, septa of fat
    streaks: Array  # fibres of the back muscles over (x, along, behind), deviation 1
    back: Back


def draw_back(anatomy: Anatomy) -> Back:
    """The surface of the back alone, equal to that of :func:`draw_soft_tissue`."""
    return _draw_back(np.random.default_rng([anatomy.seed, anatomy.patient, STREAM_SOFT]), anatomy)


def draw_soft_tissue(anatomy: Anatomy) -> SoftTissue:
    """Soft tissue of a patient, a function of the seed and number that the anatomy was drawn from."""
    rng = np.random.default_rng([anatomy.seed, anatomy.patient, STREAM_SOFT])
    back = _draw_back(rng, anatomy)
    return SoftTissue(
        fields={name: draw_field(rng, LOW_MM, HIGH_MM, size) for name, size in _FIELDS_MM.items()},
        streaks=_draw_streaks(rng),
        back=back,
    )


def _draw_streaks(rng: np.random.Generator) -> Array:
    noise = rng.standard_normal(_STREAK_SHAPE, dtype=np.float32)
    for axis, steps in ((0, 2), (1, 6), (1, 4), (2, 2), (2, 2)):
        noise = np.asarray(sum(np.roll(noise, step, axis=axis) for step in range(steps)))
    return np.asarray(noise / noise.std(), dtype=np.float32)


def _draw_back(rng: np.random.Generator, anatomy: Anatomy) -> Back:
    """Fascia and skin of the back over y: the canal's course plus a depth, smoothed."""
    around = anatomy.surroundings
    rows = np.arange(LOW_MM[1], HIGH_MM[1] + 1, 2.0)
    line_y = np.maximum.accumulate(anatomy.canal[:, 1])
    canal_z = np.interp(rows, line_y, anatomy.canal[:, 2])
    along = np.interp(rows, line_y, anatomy.canal_arc)
    depth = np.interp(
        along,
        (-300, -40, 10, 45, 80, 120),
        around.muscle_depth * np.array([0.95, 1.0, 0.86, 0.58, 0.40, 0.33]),
    )
    fascia = _smooth(canal_z + depth, 9)
    waves = sum(
        rng.normal(0, length / 110) * np.sin(rows * 2 * np.pi / length + rng.uniform(0, 6))
        for length in (170, 90, 55)
    )
    gain = around.fat_gain / (1 + np.exp(-(rows + 5) / 22))
    skin = _smooth(fascia + around.fat_thickness + gain, 14) + waves
    return Back(rows=rows, fascia_z=fascia, skin_z=np.maximum(skin, fascia + 4))


def _smooth(values: Array, steps: int) -> Array:
    kernel = np.exp(-0.5 * (np.arange(-3 * steps, 3 * steps + 1) / steps) ** 2)
    return np.convolve(np.pad(values, 3 * steps, mode="edge"), kernel / kernel.sum(), mode="valid")


def paint_soft(
    anatomy: Anatomy, soft: SoftTissue, course: Course, x_mm: Array, y_mm: Array, z_mm: Array
) -> Array:
    """Tissue codes ``(X, Y, Z)`` uint8 of everything but spine and sacrum, on the axes of a grid in mm."""
    fields = {name: field.planes(y_mm, z_mm) for name, field in soft.fields.items()}
    planes = []
    for x in map(float, x_mm):
        values = {name: plane(x) for name, plane in fields.items()}
        planes.append(_paint_plane(anatomy, soft, course, values, x, y_mm, z_mm))
    return np.stack(planes)


def _paint_plane(
    anatomy: Anatomy, soft: SoftTissue, course: Course, fields: Fields, x_mm: float, y_mm: Array, z_mm: Array
) -> Array:
    around = anatomy.surroundings
    z = z_mm.astype(np.float32)[None, :]
    side = np.abs(x_mm - course.across)
    bulge = 5.0 * (1 - np.exp(-((x_mm / 22) ** 2))) - 0.0035 * x_mm**2
    fascia = (np.interp(y_mm, soft.back.rows, soft.back.fascia_z) + bulge).astype(np.float32)[:, None]
    skin = (np.interp(y_mm, soft.back.rows, soft.back.skin_z) + 0.7 * bulge).astype(np.float32)[:, None]
    level = -40 - around.belly_depth - around.belly_fat
    front = (level - 12 * np.sin((y_mm + 120) / 75) + 0.004 * x_mm**2).astype(np.float32)[:, None]

    tissue = np.full(course.along.shape, code("fat"), dtype=np.uint8)
    _paint_abdomen(tissue, anatomy, fields, course, x_mm, y_mm, z_mm)
    _paint_back_muscle(tissue, soft, course, side, x_mm, around.muscle_fat)
    radius = np.interp(course.along, (-200, -150, -60, 0, 60), (3, 9, 19, 22, 20)).astype(np.float32)
    centre = 17 + radius + np.clip(course.along + 80, 0, 120) * np.float32(0.10)
    psoas = ((side - centre) / radius) ** 2 + ((course.behind + 26) / (radius * np.float32(1.15))) ** 2 < 1
    tissue[psoas] = code("muscle")
    tissue[psoas & (np.abs(fields["septa"]) < 0.03)] = FATTY_MUSCLE
    # Between the last rib and the iliac bone, in front of the back muscles.
    end = np.clip((course.along + 175) / 40, 0, 1) * np.clip(-(course.along + 22) / 10, 0.01, 1)
    lumborum = ((side - 52) / 26) ** 2 + ((course.behind - 0.2 * (side - 52)) / (7 * end + 0.01)) ** 2 < 1
    tissue[lumborum] = code("muscle")
    _paint_vessels(tissue, anatomy, course, x_mm)

    tissue[z > fascia] = code("fat")
    outside = (z > fascia) | (z < front + around.belly_fat)
    tissue[(np.abs(fields["septa"]) < 0.05) & outside] = code("fibrous")
    middle = 0.45 * fascia + 0.55 * skin + 2 * np.sin(y_mm / 23)[:, None]
    tissue[(np.abs(z - middle) < 0.5) & (skin - fascia > 14)] = code("fibrous")
    tissue[np.abs(z - fascia) < 0.9] = code("ligament")
    tissue[(np.abs(z - front - around.belly_fat - 5) < 5)] = code("muscle")
    tissue[(z > skin - 1.8) | (z < front + 1.8)] = code("skin")
    tissue[(z > skin) | (z < front)] = code("air")
    return tissue


def skin_behind(back: Back, y_mm: Array) -> Array:
    """Position z of the skin of the back in the midline at rows ``y_mm``."""
    return np.interp(y_mm, back.rows, back.skin_z)


def _paint_back_muscle(
    tissue: Array, soft: SoftTissue, course: Course, side: Array, x_mm: float, muscle_fat: float
) -> None:
    """Erector spinae and multifidus beside the spinous processes, ligament and fat between them."""
    along, behind = course.along, course.behind
    layers, rows, columns = _STREAK_SHAPE
    layer = int(np.clip(round(x_mm / _STREAK_LAYER_MM) + layers // 2, 0, layers - 1))
    row = np.clip((along + 360) / _STREAK_ALONG_MM, 0, rows - 1).astype(np.int32)
    # Fibres run from the spinous processes down and forward: slanted against the spine.
    column = ((behind + np.float32(0.28) * along + 150) / _STREAK_BEHIND_MM).astype(np.int32) % columns
    streak = soft.streaks[layer][row, column]
    # Infiltration grows downward and close to the bone.
    share = muscle_fat * np.clip(0.75 + along / 260, 0.2, 1.3) + 0.01 * np.maximum(22 - behind, 0)
    share = share + 0.35 * np.exp(-((side / 6) ** 2))
    threshold = np.float32(2.4) - np.float32(2.1) * share
    # Muscle reaches forward to the transverse processes and ends further back beside them.
    edge = np.interp(side, (18, 32, 42, 75), (6, -1, 4, 16)).astype(np.float32)
    back = behind > edge
    tissue[back] = code("muscle")
    tissue[back & (streak > threshold - np.float32(0.55))] = FATTY_MUSCLE
    tissue[back & (streak > threshold)] = code("fat")
    # Planes of fat part multifidus, longissimus and iliocostalis; they slant outward.
    for start in (30, 58):
        plane = side + np.float32(0.7) * behind - start + 3 * streak
        tissue[back & (np.abs(plane) < 0.5 + 1.3 * muscle_fat) & (streak > -0.8)] = FATTY_MUSCLE
    midline = back & (side < 3 + streak)
    tissue[midline] = code("fibrous")
    tissue[midline & (streak > -0.3)] = FATTY_LIGAMENT
    tissue[midline & (streak > 1.3 - muscle_fat)] = code("fat")
    tissue[midline & (streak < -1.4)] = code("ligament")
    # Fat fills the foramina.
    tissue[(behind > -14) & (behind < edge) & (side < 40) & (along < 20)] = code("fat")


def _paint_vessels(tissue: Array, anatomy: Anatomy, course: Course, x_mm: float) -> None:
    """Aorta left and vena cava right in front of the bodies, dividing into the iliac vessels."""
    around = anatomy.surroundings
    beyond = np.maximum(course.along - np.float32(around.bifurcation), 0)
    depth = anatomy.vertebrae[0].depth + 9.5
    for start, radius, sign in ((-7.0, around.vessel_radius, -1), (13.0, around.vessel_radius + 1.5, 1)):
        narrowed = np.float32(radius) * (1 - np.float32(0.38) * np.clip(beyond / 18, 0, 1))
        front = -np.float32(depth + around.vessel_radius + 2.5) - np.float32(0.06) * beyond
        for branch in (-1, 1):
            x = start + course.across + branch * np.minimum(beyond * np.float32(0.55), 60)
            if sign == 1 and branch == -1:
                front = front + 4
            square = (x_mm - x) ** 2 + (course.behind - front) ** 2
            inside = square < narrowed**2
            tissue[square < (narrowed + 1.0) ** 2] = code("fibrous")
            tissue[inside] = code("flow void")


def _paint_abdomen(
    tissue: Array, anatomy: Anatomy, fields: Fields, course: Course, x_mm: float, y_mm: Array, z_mm: Array
) -> None:
    """Bowel loops with walls, fluid and gas in mesenteric fat, liver above, bladder below."""
    around = anatomy.surroundings
    y, z = y_mm.astype(np.float32)[:, None], z_mm.astype(np.float32)[None, :]
    depth = anatomy.vertebrae[0].depth
    abdomen = (course.behind < -(depth + 16)) & (z < 60)
    bowel, content, vessels = fields["bowel"], fields["content"], fields["vessels"]
    level = np.float32(0.15 + 0.75 * around.visceral_fat)
    tissue[abdomen & (bowel > level)] = code("bowel wall")
    inner = abdomen & (bowel > level + 0.35)
    tissue[inner] = code("bowel content")
    tissue[inner & (content > 0.9)] = code("air")
    tissue[abdomen & (bowel < level) & (np.abs(vessels) < 0.06)] = code("flow void")
    liver = (
        abdomen
        # It reaches far down on the right only.
        & (y < around.liver_edge + 0.4 * max(x_mm, 0) + 1.5 * min(x_mm, 0) + 14 * content + 0.25 * (z + 100))
        & (course.behind < -(depth + 38) + 12 * content + 4 * bowel)
    )
    tissue[liver] = code("liver")
    tissue[liver & (np.abs(vessels) < 0.05)] = code("flow void")
    bladder_y, bladder_z, radius = around.bladder
    if not radius:
        return
    square = (y - bladder_y) ** 2 / 1.4 + (z - bladder_z) ** 2 + x_mm**2
    tissue[square < (radius + 3) ** 2] = code("muscle")
    tissue[square < radius**2] = code("urine")

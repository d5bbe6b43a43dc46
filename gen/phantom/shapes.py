"""Vertebra and disc as implicit surfaces: approximate signed distances in mm, negative inside.

All functions take local coordinates (u right, v up, w back) as float32 arrays of one shape and return that
shape.
"""

import numpy as np

from synthspine.gen.phantom.anatomy import Array, Disc, Vertebra

Local = tuple[Array, Array, Array]

ROUNDING_MM = 2.4
NODE_RADIUS_MM = 4.0
# Centre and depth of the ellipse that a body's outline follows in front of its flat posterior wall.
_ELLIPSE_CENTRE, _ELLIPSE_DEPTH = 0.10, 0.60
# Rows of a lamina lie this much farther back per mm below a level, and farther forward above it.
_LAMINA_LEAN, _LAMINA_LEVEL_MM = np.float32(0.65), np.float32(4.0)


def local_coordinates(vertebra: Vertebra, x_mm: Array, y_mm: Array, z_mm: Array) -> Local:
    """Local coordinates ``(X, Y, Z)`` of the box spanned by three axes ``(X,)``, ``(Y,)``, ``(Z,)``."""
    dx, dy, dz = (
        (axis - centre).astype(np.float32)
        for axis, centre in zip((x_mm, y_mm, z_mm), vertebra.centre, strict=True)
    )
    axes = vertebra.axes.astype(np.float32)
    u, v, w = (
        (dx * row[0])[:, None, None] + (dy * row[1])[None, :, None] + (dz * row[2])[None, None, :]
        for row in axes
    )
    return u, v, w


def body_distance(vertebra: Vertebra, local: Local) -> Array:
    """Distance to the vertebral body: D-shaped outline, waist, hollow and wedged end plates, lips, nodes."""
    v = local[1]
    plates = np.maximum(v - end_plate(vertebra, local, 1), end_plate(vertebra, local, -1) - v)
    smooth = smooth_max(plates, _outline_distance(vertebra, local), ROUNDING_MM)
    return smooth + _roughness(vertebra, local)


def end_plate(vertebra: Vertebra, local: Local, side: int) -> Array:
    """Height v of the upper (``side`` 1) or lower (-1) end plate over every point."""
    u, _, w = local
    concavity = vertebra.concavity_top if side > 0 else vertebra.concavity_bottom
    half_width, half_depth = np.float32(vertebra.width / 2), np.float32(vertebra.depth / 2)
    slope = np.float32(np.tan(np.deg2rad(vertebra.wedge_deg) / 2))
    # The hollow is deepest behind the middle, more so in lower end plates.
    shift = half_depth * np.float32(0.08 if side > 0 else 0.2)
    radius = np.minimum((u / half_width) ** 2 + ((w - shift) / half_depth) ** 2, 1)
    height = np.float32(vertebra.height / 2) - slope * w - np.float32(concavity) * (1 - radius)
    if vertebra.wing and side > 0:
        height -= np.float32(vertebra.wing) * np.maximum(np.abs(u) - np.float32(18), 0)
    elif vertebra.sacral:
        height += np.clip((np.abs(u) - np.float32(12)) * np.float32(0.3), 0, 2.4)
    for node_side, node_u, node_w, depth in vertebra.nodes:
        if node_side == side:
            square = (u - np.float32(node_u)) ** 2 + (w - np.float32(node_w)) ** 2
            height -= np.float32(depth) * np.exp(square * np.float32(-0.5 / NODE_RADIUS_MM**2))
    amplitude, first, second = (np.float32(value) for value in vertebra.roughness)
    height += amplitude * np.sin(w * np.float32(0.55) + first) * np.cos(u * np.float32(0.3) + second)
    return height if side > 0 else -height


def _outline_distance(vertebra: Vertebra, local: Local) -> Array:
    u, v, w = local
    level = v * np.float32(2 / vertebra.height)
    waist = np.float32(vertebra.waist) * np.maximum(1 - level**2, 0)
    scale = 1 - waist
    if vertebra.lip:
        rim = np.exp(-(((np.abs(level) - 1) * np.float32(vertebra.height / 7)) ** 2))
        scale = scale + rim * np.float32(vertebra.lip / vertebra.depth) * (w < 0)
    growth = 1 + np.float32(vertebra.taper) * level
    radial = _ellipse(u, w, vertebra.width / 2, vertebra.depth, scale * growth)
    notch = np.float32(1.3) * np.maximum(1 - (u / np.float32(10)) ** 2, 0)
    wall = w - (growth - np.float32(0.6) * waist) * np.float32(vertebra.depth / 2) + notch
    return smooth_max(radial, wall, ROUNDING_MM)


def _ellipse(u: Array, w: Array, half_width: float, depth: float, scale: Array | float) -> Array:
    """Distance to the outline, between an ellipse and a superellipse of order 4."""
    across = (u / np.float32(half_width)) ** 2
    along = ((w - np.float32(_ELLIPSE_CENTRE * depth)) / np.float32(_ELLIPSE_DEPTH * depth)) ** 2
    round_, square = np.sqrt(across + along), np.sqrt(np.sqrt(across**2 + along**2))
    radius = np.float32(0.5 * (half_width + _ELLIPSE_DEPTH * depth))
    return (np.float32(0.55) * round_ + np.float32(0.45) * square - scale) * radius


def arch_distance(vertebra: Vertebra, local: Local) -> Array:
    """Distance to the posterior arch: pedicles, articular, transverse and spinous processes, laminae."""
    u, v, w = local
    side = np.abs(u)
    wall, half_gap, height = vertebra.depth / 2, vertebra.pedicle_gap / 2, vertebra.height
    centre, level = half_gap + vertebra.pedicle_width / 2, 0.20 * height
    pillar = half_gap + 3.5
    back = wall + vertebra.canal_depth
    wide, high = np.float32(vertebra.pedicle_width / 2), np.float32(0.265 * height)
    square = ((side - np.float32(centre)) / wide) ** 2 + ((v - np.float32(level)) / high) ** 2
    pedicle = (np.sqrt(square) - 1) * min(wide, high)
    pedicle = np.maximum(pedicle, np.abs(w - np.float32(wall + 2.5)) - np.float32(8))
    upper = capsule((side, v, w), (pillar, level, wall + 8), (pillar + 2.5, height / 2 + 4.5, wall + 10), 4.3)
    front = np.minimum(pedicle, upper)
    if vertebra.transverse_reach:
        # Higher than thick.
        process = capsule(
            (side, v * np.float32(0.7), w),
            (pillar + 1, 0.7 * level, wall + 9),
            (vertebra.transverse_reach + 2, -0.72 * height, wall + 6)
            if vertebra.fused
            else (vertebra.transverse_reach, 0.7 * level + 0.7, wall + 13),
            8.0 if vertebra.fused else 3.2,
        )
        front = np.minimum(front, process)
    # A slipped body leaves the rear of its arch behind.
    w = w - np.float32(vertebra.left_behind)
    lower = capsule(
        (side, v, w), (pillar, level - 3, wall + 11), (pillar - 3, -height / 2 - 8, wall + 17.5), 4.1
    )
    slant = (w - np.float32(wall + 12)) * np.float32(0.45)
    lifted = v + np.float32(0.07 * height)
    # The lower edge of a lamina lies farther back than its upper one.
    lean = (lifted - _LAMINA_LEVEL_MM) * _LAMINA_LEAN
    lamina = capsule(
        (side, (lifted + slant) * np.float32(0.55), w + lean),
        (pillar - 2, 0.0, wall + 13),
        (0.0, 0.0, back + 0.4),
        3.2,
    )
    if vertebra.removed:
        # The facets are left.
        rear = np.maximum(lower, np.float32(pillar - 4) - side)
    else:
        rear = -smooth_max(-np.minimum(lower, lamina), -_spinous_distance(vertebra, side, v, w, back), 5.0)
    if vertebra.left_behind:
        rear = np.maximum(rear, 1.5 - front)
    return np.minimum(front, rear) + _roughness(vertebra, local)


def _roughness(vertebra: Vertebra, local: Local) -> Array:
    u, v, w = local
    amplitude, first, second = (np.float32(value) for value in vertebra.roughness)
    waves = np.sin(w * np.float32(0.42) + v * np.float32(0.18) + first) * np.sin(
        v * np.float32(0.37) - w * np.float32(0.1) + u * np.float32(0.16) + second
    )
    fine = np.sin(w * np.float32(0.95) + v * np.float32(0.5) + second) * np.sin(
        v * np.float32(0.85) - w * np.float32(0.3) + u * np.float32(0.3) + first
    )
    return amplitude * (waves + np.float32(0.6) * fine)


def _spinous_distance(vertebra: Vertebra, side: Array, v: Array, w: Array, back: float) -> Array:
    """A blade in the midline, low at its root, that grows thicker towards its tip and slopes down."""
    length, half_height, slope_deg, half_thickness = vertebra.spinous
    angle = np.deg2rad(slope_deg)
    from_base, lifted = w - np.float32(back + 1), v + np.float32(0.05 * vertebra.height)
    out = from_base * np.float32(np.cos(angle)) - lifted * np.float32(np.sin(angle))
    rise = from_base * np.float32(np.sin(angle)) + lifted * np.float32(np.cos(angle))
    share = np.clip(out / np.float32(length), 0, 1)
    # The tip droops, so that the upper border is longer than the lower one.
    rise = rise + np.float32(0.3 * half_height) * share**2
    high = np.abs(rise) - np.float32(half_height) * (
        np.float32(0.45) + np.float32(1.4) * np.minimum(share, 0.45)
    )
    thick = side - np.float32(half_thickness) * (np.float32(0.75) + np.float32(0.55) * share)
    long = np.abs(out - np.float32(length / 2)) - np.float32(length / 2)
    return smooth_max(smooth_max(high, long, 6.0), thick, 2.0)


def disc_distances(
    disc: Disc, upper: Vertebra, lower: Vertebra, above: Local, below: Local, gap_mm: float
) -> tuple[Array, Array, Array, Array]:
    """Distances to the disc between two bodies, of which the lower may be S1.

    ``above`` and ``below`` are the same points in the frames of the upper and the lower body; ``gap_mm`` is
    the end plate between disc and bone.

    Returns:
        Whole disc, its outline alone (radial), its end plates alone, and the signed height over its middle
        surface.
    """
    under, over = end_plate(upper, above, -1) - above[1], below[1] - end_plate(lower, below, 1)
    u, w = (above[0] + below[0]) / 2, (above[2] + below[2]) / 2
    lower_depth = lower.depth * (1 + lower.taper)
    depth = disc.extent * (upper.depth + lower_depth) / 2
    width = disc.extent * (upper.width if lower.sacral else (upper.width + lower.width) / 2)
    focus = np.exp(-(((u - np.float32(disc.protrusion_u)) / np.float32(6.5)) ** 2)) * np.float32(
        disc.protrusion
    )
    radial = _ellipse(u, w, width / 2 * 0.985, depth, 1.03 + 1.2 * disc.bulge / depth)
    notch = np.float32(0.8) * np.maximum(1 - (u / np.float32(10)) ** 2, 0)
    wall = w - np.float32(depth / 2 + 0.7 * disc.bulge) + notch - focus
    outline = smooth_max(radial, wall, ROUNDING_MM)
    slab = np.float32(gap_mm) - np.minimum(under, over)
    return smooth_max(slab, outline, 1.6), outline, slab, (over - under) / 2


def capsule(
    local: Local, start: tuple[float, float, float], end: tuple[float, float, float], radius: float
) -> Array:
    """Distance to a segment with round ends."""
    first = np.array(start, dtype=np.float32)
    run = np.array(end, dtype=np.float32) - first
    offset = [axis - origin for axis, origin in zip(local, first, strict=True)]
    share = offset[0] * run[0] + offset[1] * run[1] + offset[2] * run[2]
    share = np.clip(share / np.float32(run @ run), 0, 1)
    square = sum((axis - share * step) ** 2 for axis, step in zip(offset, run, strict=True))
    return np.asarray(np.sqrt(square) - np.float32(radius))


def smooth_max(first: Array, second: Array, width_mm: float) -> Array:
    """Maximum with an edge rounded over ``width_mm`` (polynomial smooth maximum, Quilez)."""
    blend = np.maximum(np.float32(width_mm) - np.abs(first - second), 0)
    return np.maximum(first, second) + blend**2 * np.float32(0.25 / width_mm)

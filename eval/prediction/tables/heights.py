"""Heights of vertebral bodies and discs: the mean distance of their end plates, mm.

Measured is the middle of the spine: the sagittal slices within ``MIDDLE_MM`` of the centre of the canal at
the structure's level. In each, the height is the area of the middle half of the structure, from front to
back, divided by the width of that half; along the structure's own axis, which is perpendicular to the mean of
its two end plates. The answer is the mean of the slices, without those in which the upper or lower border of
the image cuts the structure off.
"""

import numpy as np
from scipy.ndimage import find_objects

from synthspine.eval.labelling.islands import slice_components
from synthspine.eval.labelling.roles import DISC, VERTEBRA, ranks_of, roles_of
from synthspine.gen.core.anatomy import CANAL, POSTERIOR_OFFSET

MIDDLE_MM = 6.0
MIDDLE_HALF = 0.5
"""Part of the depth, in its middle, that is measured."""
LEAST_MM2 = 40.0
"""Smaller areas in a slice are not measured."""
_ENDS = (2.0, 98.0)
_BIN_MM = 1.0
_TURNS = 3

InPlane = tuple[float, float]


def heights_mm(codes: np.ndarray, spacing_mm: tuple[float, float, float]) -> dict[int, float]:
    """Height of every vertebra and disc that can be measured, by its dense code.

    The codes are uint8 ``(Z, H, W)``, rows superior to inferior.
    """
    canal = (codes == CANAL).sum(axis=2)
    boxes = find_objects(codes)
    # Posterior elements are no part of the height.
    wanted = [code for code, box in enumerate(boxes, 1) if box and code <= POSTERIOR_OFFSET]
    roles = dict(zip(wanted, roles_of(np.array(wanted, dtype=int)).tolist(), strict=True))
    bodies = {
        code: _bodies(codes, code, boxes[code - 1], canal, spacing_mm)
        for code, role in roles.items()
        if role in (VERTEBRA, DISC)
    }
    in_plane = (spacing_mm[1], spacing_mm[2])
    centres = {
        code: np.mean([body.mean(axis=0) for body in own], axis=0) for code, own in bodies.items() if own
    }
    upward = sorted(centres, key=_place)
    found = {}
    last_mm = (codes.shape[1] - 1.5) * in_plane[0]
    for place, code in enumerate(upward):
        whole = [each for each in bodies[code] if each[:, 0].min() > 0 and each[:, 0].max() < last_mm]
        # What lies a level away says nothing about the direction of the spine here.
        near = [
            other for other in upward[max(0, place - 1) : place + 2] if abs(_place(other) - _place(code)) <= 1
        ]
        if whole:
            along = centres[near[0]] - centres[near[-1]] if len(near) > 1 else np.array((1.0, 0.0))
            found[code] = float(np.mean([_height_mm(body, along, in_plane) for body in whole]))
    return found


def _place(code: int) -> int:
    """Place in the column, upward: the disc of a rank lies below its vertebra."""
    rank = int(ranks_of(np.array(code)))
    return 2 * rank + (0 if int(roles_of(np.array(code))) == DISC else 1)


def _bodies(
    codes: np.ndarray,
    code: int,
    box: tuple[slice, slice, slice],
    canal: np.ndarray,
    spacing_mm: tuple[float, float, float],
) -> list[np.ndarray]:
    """Places (row, column; mm) of the largest region of a structure in each of its middle slices.

    The structure is in the box; ``canal`` is the number of its pixels in every slice and row, ``(Z, H)``.
    """
    across, down_mm, along_mm = spacing_mm
    mask = codes[:, box[1], box[2]] == code
    weights = canal[:, box[1]].sum(axis=1)
    if not weights.any():
        weights = mask.sum(axis=(1, 2))
    middle = weights @ np.arange(len(mask)) / weights.sum()
    found = []
    for index in np.flatnonzero(abs(np.arange(len(mask)) - middle) * across <= max(MIDDLE_MM, across / 2)):
        regions = list(slice_components(mask[index][None]))
        if regions:
            _, down, along = max(regions, key=lambda region: len(region[1]))
            if len(down) * down_mm * along_mm >= LEAST_MM2:
                corner = np.array((box[1].start, box[2].start))
                found.append((np.stack((down, along), axis=1) + corner) * (down_mm, along_mm))
    return found


def _height_mm(body: np.ndarray, along: np.ndarray, in_plane: InPlane) -> float:
    """Height of a region, mm, first measured along a direction downward, then along its own axis.

    ``body`` holds the places of its pixels, mm, ``(N, 2)``.
    """
    axis = along / np.linalg.norm(along)
    for _ in range(_TURNS):
        height, depth = body @ axis, body @ np.array((-axis[1], axis[0]))
        low, high = np.percentile(depth, _ENDS)
        quarter = (1 - MIDDLE_HALF) / 2 * (high - low)
        middle = (depth >= low + quarter) & (depth <= high - quarter)
        step = max(_BIN_MM, *in_plane)
        bins = np.floor((depth[middle] - low - quarter) / step).astype(int)
        ends = np.full((2, bins.max(initial=0) + 1), -np.inf)
        for end, sign in zip(ends, (1, -1), strict=True):
            np.maximum.at(end, bins, sign * height[middle])
        whole = np.flatnonzero(np.isfinite(ends[0]))
        if len(whole) < 3:
            break
        lower, upper = (float(np.polyfit(whole * step, end[whole], 1)[0]) for end in ends)
        turn = np.arctan((lower - upper) / 2)
        axis = axis * np.cos(turn) - np.array((-axis[1], axis[0])) * np.sin(turn)
    across = np.array((-axis[1], axis[0]))
    depth = body @ across
    low, high = np.percentile(depth, _ENDS)
    half, pixel = MIDDLE_HALF * (high - low), float(abs(across) @ in_plane)
    # Pixels at the ends of the middle half count in part.
    parts = np.clip((half / 2 - abs(depth - (low + high) / 2)) / pixel + 0.5, 0.0, 1.0)
    return float(parts.sum() * in_plane[0] * in_plane[1] / half)

"""The neighbourhood of the main canal: where the ranks of a scan are counted.

Slices beside the spine hold what looks like vertebrae, discs and canal. Levels are therefore looked for near
the *main canal* alone: the largest piece in three dimensions (of the discs or vertebrae where no canal is
found). Its middle is followed from row to row, because in scoliosis it leaves the middle slice.
"""

from dataclasses import dataclass

import numpy as np

from synthspine.eval.labelling.canal_axis import MIN_LENGTH_MM, CanalAxis, canal_axis, vertical_axis
from synthspine.eval.labelling.islands import largest_piece, slice_components
from synthspine.eval.labelling.roles import CANAL_ROLE, DISC, VERTEBRA
from synthspine.gen.core.anatomy import BACKGROUND

Spacing3 = tuple[float, float, float]
CORE_MM = 16.0
"""Half-width of the neighbourhood: the canal and its walls."""
WINDOW_MM = 20.0
"""Half-height of the rows from which the middle at a row is taken."""
OUTLIER_MM = 12.0
"""What lies further to the side than this, about half a canal, does not move the middle."""
CANAL_SIDE_MM, CANAL_DEPTH_MM = 20.0, 15.0
"""How far the canal reaches to the side of its middle, and in front of and behind its middle line."""
BODY_DEPTH_MM = (5.0, 35.0)
"""Where vertebral bodies lie in front of the middle line of the canal."""
MIN_DISC_MM2 = 40.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Core:
    """What lies near the main canal, and positions with respect to it.

    Attributes:
        roles: the roles near it, uint8 ``(Z, H, W)``; background elsewhere.
        canal: the canal without what lies elsewhere, bool ``(Z, H, W)``.
        sideways_mm: distance of every slice from its middle, by row, ``(Z, H)``; negative to the left.
        along_mm: position along it, upward, ``(H, W)``; nan where no slice has a role.
        behind_mm: distance behind its middle line, ``(H, W)``; negative in front of it.
        axis: the middle line.
        sign: -1 where the scan is stored back to front; 1 otherwise.
    """

    roles: np.ndarray
    canal: np.ndarray
    sideways_mm: np.ndarray
    along_mm: np.ndarray
    behind_mm: np.ndarray
    axis: CanalAxis
    sign: int

    @property
    def front(self) -> np.ndarray:
        """What lies in front of the canal, bool ``(H, W)``."""
        return np.asarray(self.behind_mm < 0)

    @property
    def canal_end_mm(self) -> float:
        """Position of the lower end of the canal; minus infinity without a canal."""
        found = np.broadcast_to(self.along_mm, self.canal.shape)[self.canal]
        return float(np.percentile(found, 0.5)) if len(found) else -np.inf

    def positions_mm(self, role: int) -> np.ndarray:
        """Positions along the canal of the voxels of a role in front of it."""
        return np.broadcast_to(self.along_mm, self.roles.shape)[(self.roles == role) & self.front]

    def sacrum_top_mm(self, sacrum: np.ndarray, spacing_mm: Spacing3) -> float | None:
        """Position that parts the sacrum from the vertebrae above it, near and in front of the canal.

        Of all positions the one with the most sacrum and the fewest vertebrae below it: single voxels of the
        wrong kind on either side do not move it. None where no position has more sacrum below it.
        """
        places = np.argwhere(sacrum & (abs(self.sideways_mm) <= CORE_MM)[..., None])
        along, behind = self.axis.at(places[:, 1:] * spacing_mm[1:])
        along = along[behind * self.sign < 0]
        bodies = self.positions_mm(VERTEBRA)
        positions = np.concatenate((along, bodies))
        order = np.argsort(positions, kind="stable")
        gain = np.cumsum(np.where(order < len(along), 1, -1))
        best = int(gain.argmax()) if len(gain) else -1
        return float(positions[order[best]]) if best >= 0 and gain[best] > 0 else None

    def lower_end_mm(self, view: np.ndarray, spacing_mm: Spacing3) -> float:
        """Position of the lower border of the scan where vertebral bodies would lie.

        Minus infinity where that is not in view, as where a bent sacrum leaves it at the back.
        """
        depth = view.shape[1] - 1 - view[:, ::-1].argmax(axis=1)
        slices, columns = np.nonzero(view.any(axis=1) & (abs(self.sideways_mm[:, -1:]) <= CORE_MM))
        along, behind = self.axis.at(np.stack((depth[slices, columns], columns), axis=1) * spacing_mm[1:])
        behind = behind * self.sign
        near = (behind < -BODY_DEPTH_MM[0]) & (behind > -BODY_DEPTH_MM[1])
        return float(np.median(along[near])) if near.any() else -np.inf


def find_core(roles: np.ndarray, spacing_mm: Spacing3) -> Core:
    """The neighbourhood of the main canal in a map of roles (``eval.labelling.roles``), ``(Z, H, W)``."""
    sideways = sideways_mm(roles, spacing_mm)
    near = np.where((abs(sideways) <= CORE_MM)[..., None], roles, BACKGROUND)
    in_plane = spacing_mm[1:]
    shape = (roles.shape[1], roles.shape[2])
    where = (roles != BACKGROUND).any(axis=0)
    canal = near == CANAL_ROLE
    axis = _axis(near, canal, spacing_mm)
    # Litter that hangs on the canal bends the first line.
    _, behind = axis.coordinates(shape, in_plane, canal.any(axis=0))
    axis = _axis(near, canal & (abs(behind) <= CANAL_DEPTH_MM), spacing_mm)
    along, behind = axis.coordinates(shape, in_plane, where)
    # In a scan that is stored back to front the discs lie on the other side.
    sides = np.broadcast_to(behind, near.shape)[near == DISC] > 0
    sign = -1 if np.count_nonzero(sides) > len(sides) / 2 else 1
    behind = sign * behind
    inside = (abs(sideways) <= CANAL_SIDE_MM)[..., None] & (abs(behind) <= CANAL_DEPTH_MM)
    return Core(
        roles=near,
        canal=(roles == CANAL_ROLE) & inside,
        sideways_mm=sideways,
        along_mm=along,
        behind_mm=behind,
        axis=axis,
        sign=sign,
    )


def _axis(roles: np.ndarray, canal: np.ndarray, spacing_mm: Spacing3) -> CanalAxis:
    """The middle line of the canal; without one, of a line behind the discs, or a vertical one."""
    in_plane = spacing_mm[1:]
    ends = [
        (float(rows.mean()) * in_plane[0], float(np.percentile(columns, 95)) * in_plane[1])
        for _, rows, columns in slice_components(roles == DISC)
        if len(rows) * in_plane[0] * in_plane[1] >= MIN_DISC_MM2
    ]
    axis = canal_axis(canal, in_plane, np.array(ends).reshape(-1, 2))
    if axis is None:
        discs = np.nonzero(roles == DISC)[2]
        columns = discs if len(discs) else np.nonzero(roles == VERTEBRA)[2]
        column = np.percentile(columns, 98) if len(columns) else roles.shape[2] / 2
        axis = vertical_axis(float(column) * in_plane[1], roles.shape[1] * in_plane[0])
    return axis


def sideways_mm(roles: np.ndarray, spacing_mm: Spacing3) -> np.ndarray:
    """Distance of every slice from the middle of the main canal by row, mm, negative to the left, ``(Z, H)``.

    The roles are uint8 ``(Z, H, W)``; all distances are 0 where nothing is found.
    """
    places = np.arange(len(roles)) * spacing_mm[0]
    for role in (CANAL_ROLE, DISC, VERTEBRA):
        main = largest_piece(roles == role)
        rows = np.flatnonzero(main.any(axis=(0, 2)))
        long = len(rows) and (role != CANAL_ROLE or (rows[-1] - rows[0]) * spacing_mm[1] >= MIN_LENGTH_MM)
        if long:
            return np.asarray(places[:, None] - _middle(main.sum(axis=2), places, spacing_mm[1]))
    return np.zeros(roles.shape[:2])


def _middle(mass: np.ndarray, places: np.ndarray, row_mm: float) -> np.ndarray:
    """Position across of what has a mass ``(Z, H)``, by row: its mean around the median."""
    reach = max(1, round(WINDOW_MM / row_mm))
    rows = np.flatnonzero(mass.any(axis=0))
    # Beyond its ends the canal is where it ends.
    places_of_rows = np.clip(np.arange(mass.shape[1]), rows[0], rows[-1])
    total = np.concatenate((np.zeros((len(mass), 1)), np.cumsum(mass, axis=1, dtype=np.float64)), axis=1)
    low = np.clip(places_of_rows - reach, 0, mass.shape[1])
    high = np.clip(places_of_rows + reach + 1, 0, mass.shape[1])
    near = total[:, high] - total[:, low]
    empty = np.flatnonzero(near.sum(axis=0) == 0)
    near[:, empty] = mass.sum(axis=1)[:, None]
    share = np.cumsum(near, axis=0) / near.sum(axis=0)
    median = places[(share >= 0.5).argmax(axis=0)]
    near[abs(places[:, None] - median) > OUTLIER_MM] = 0
    return np.asarray((places[:, None] * near).sum(axis=0) / near.sum(axis=0))

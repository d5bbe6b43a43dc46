"""Side slices: label maps beside the spine, with little of it or nothing, and how often they are drawn."""

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import BACKGROUND, CANAL, MAX_RANK

SIDE_CM2 = 5.0
"""A slice with less vertebra and canal than this is a side slice."""
_CHUNK = 256


def side_slices(maps: Tensor, spacing_mm: float) -> Tensor:
    """Which label maps, dense codes ``(N, H, W)``, are side slices, empty ones included: bool ``(N,)``."""
    counts = [
        (((part > BACKGROUND) & (part <= MAX_RANK)) | (part == CANAL)).sum(dim=(1, 2))
        for part in maps.split(_CHUNK)
    ]
    return torch.cat(counts) * spacing_mm**2 < 100 * SIDE_CM2


def map_odds(side: Tensor, side_share: float) -> Tensor:
    """How likely every map is drawn, as cumulative probabilities, float64 ``(N,)``, the last one 1.

    Side slices together have the probability ``side_share``, all others the rest; among themselves they are
    equally likely. Where one of the two kinds is missing, all maps are equally likely.

    Raises ValueError for no map, or a share outside 0..1.
    """
    if not 0 <= side_share <= 1 or not len(side):
        raise ValueError(f"side_share {side_share} of {len(side)} maps; want 0..1 of a map or more")
    # On the CPU, because every device must draw the same maps.
    own = side.cpu()
    counts = torch.stack((~own, own)).sum(1).double()
    share = side_share if counts.min() else float(counts[1]) / len(own)
    each = torch.tensor([1 - share, share], dtype=torch.float64) / counts.clamp(min=1)
    sums = each[own.long()].cumsum(0)
    return (sums / sums[-1]).to(side.device)

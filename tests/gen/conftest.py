"""Small label maps to render."""

import numpy as np
import pytest
import torch

from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code


def spine_map(rows: int = 96, columns: int = 80, missing: int | None = None) -> np.ndarray:
    """Three vertebrae with their discs in front of a canal, dense codes; ``missing`` leaves a rank out."""
    codes = np.zeros((rows, columns), dtype=np.uint8)
    bottom = rows - 16
    for rank in (1, 2, 3):
        disc = slice(bottom - 5, bottom)
        body = slice(bottom - 23, bottom - 5)
        codes[disc, 18:44] = disc_code(rank)
        if rank != missing:
            codes[body, 20:42] = vertebra_code(rank)
            codes[body.start + 8 : body.stop, 60:68] = vertebra_code(rank)
        bottom -= 23
    codes[4 : rows - 10, 46:56] = CANAL
    return codes


@pytest.fixture
def bank() -> torch.Tensor:
    """Three maps, uint8 ``(3, 96, 80)``."""
    first = spine_map()
    return torch.from_numpy(np.stack([first, np.roll(first, 4, axis=1), np.roll(first, -6, axis=0)]))


@pytest.fixture
def spine() -> np.ndarray:
    """One map, uint8 ``(96, 80)``."""
    return spine_map()


@pytest.fixture
def spine_without_second() -> np.ndarray:
    """The same map with the second vertebra left out."""
    return spine_map(missing=2)

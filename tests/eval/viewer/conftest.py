import numpy as np
import pytest

from synthspine.gen.phantom.series import phantom_series
from synthspine.shards.readers.spider import write_mha

SLICES = 3


@pytest.fixture(scope="session")
def phantom_scan(tmp_path_factory):
    """A file with the middle slices of a phantom patient."""
    scan = phantom_series(5, 99_999, "t2")
    middle = round(np.argwhere(scan.mask == 100)[:, 0].mean())
    slices = slice(middle - SLICES // 2, middle + SLICES // 2 + 1)
    path = tmp_path_factory.mktemp("scans") / "phantom.mha"
    write_mha(scan.image[slices], scan.spacing_mm, scan.storage, path)
    return path

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from synthspine.shards.readers.spider import write_mha

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkpoint(tmp_path, save_untrained):
    return save_untrained(tmp_path / "a.pth", sure=100)


@pytest.fixture
def image_file(tmp_path):
    draw = np.random.Generator(np.random.PCG64(0))

    def write(name="7_t1.mha", storage="LPS", slices=3):
        array = draw.integers(0, 1000, (slices, 90, 70)).astype(np.int16)
        path = tmp_path / name
        if name.endswith(".nii.gz"):
            write_mha(array, (4.0, 0.8, 0.9), storage, tmp_path / "turn.mha")
            sitk.WriteImage(sitk.ReadImage(str(tmp_path / "turn.mha")), str(path))
        else:
            write_mha(array, (4.0, 0.8, 0.9), storage, path)
        return path

    return write

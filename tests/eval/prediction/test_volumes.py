import csv
import io

import numpy as np
import pytest

from synthspine.eval.prediction.volumes import structure_volumes, volumes_csv
from synthspine.gen.core.anatomy import CANAL, IGNORE, disc_code, vertebra_code
from synthspine.gen.core.schemes import RANKS

SPACING = (4.0, 0.5, 0.25)


def mask():
    codes = np.zeros((3, 40, 40), dtype=np.uint8)
    codes[0:2, :10, :20] = vertebra_code(1)
    codes[1, 10:20, :20] = vertebra_code(7)
    codes[1, 20:22, :10] = disc_code(1)
    codes[:, :, 30] = CANAL
    codes[2, 39, 39] = IGNORE
    return codes


def test_volumes_are_voxels_times_their_size():
    volumes = structure_volumes(mask(), SPACING, RANKS)
    got = [(volume.name, volume.voxels, volume.slices, volume.spider_value) for volume in volumes]
    assert got == [
        ("L5", 400, 2, 1),
        ("vertebra 7", 200, 1, 7),
        ("L5/S1", 20, 1, 201),
        ("canal", 120, 3, 100),
    ]
    for volume in volumes:
        assert volume.volume_ml == pytest.approx(volume.voxels * 4.0 * 0.5 * 0.25 / 1000)


def test_table_can_be_read_back():
    volumes = structure_volumes(mask(), SPACING, RANKS)
    rows = list(csv.DictReader(io.StringIO(volumes_csv(volumes))))
    assert [row["name"] for row in rows] == [volume.name for volume in volumes]
    assert rows[0]["volume_ml"] == "0.2000"
    assert rows[-1]["rank"] == ""


def test_an_empty_mask_has_a_header_alone():
    assert structure_volumes(np.zeros((1, 4, 4), dtype=np.uint8), SPACING, RANKS) == []
    assert volumes_csv([]).count("\n") == 1

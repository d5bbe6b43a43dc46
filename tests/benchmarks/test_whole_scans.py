"""The model that comes with the project on whole scans of other hospitals."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.whole_scans import scores
from synthspine.eval.labelling.roles import DISC, VERTEBRA
from synthspine.eval.segmentation.segment import segment_volume
from synthspine.shards.readers.spider import read_image, read_values
from synthspine.train.model.checkpoint import load_model
from synthspine.train.model.pretrained import PRETRAINED

VOLUMES = os.environ.get("REAL_VOLUMES")
FLOORS = {
    "IVD": {"middle": 0.82, "between": 0.81, "outer": 0.75},
    "VB1": {"middle": 0.87, "between": 0.82, "outer": 0.61},
    "VB2": {"middle": 0.94, "between": 0.91, "outer": 0.70},
    "VB3": {"middle": 0.91, "between": 0.88, "outer": 0.38},
}
"""Least Dice of one scan, by thirds: .01 to .03 below that of the worst scan of the set."""
READ = ((read_image, "images"), (read_values, "masks"))
QUICK = ("IVD_11", "VB1_10", "VB2_12", "VB3_30")


@pytest.fixture(scope="module")
def model():
    return load_model(PRETRAINED)


def names() -> list:
    found = sorted(path.stem for path in (Path(VOLUMES) / "images").glob("*.mha")) if VOLUMES else QUICK
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in found]


@pytest.mark.skipif(VOLUMES is None, reason="REAL_VOLUMES names no folder with whole scans")
@pytest.mark.parametrize("name", names())
def test_a_whole_scan_is_right_from_the_first_slice_to_the_last(model, name):
    volume, mask = (read(Path(VOLUMES) / kind / f"{name}.mha") for read, kind in READ)
    answer = segment_volume(model, volume, scheme=model.scheme, spacing_mm=model.checkpoint.spacing_mm)
    kind = name.partition("_")[0]
    role = DISC if kind == "IVD" else VERTEBRA
    found = scores(
        answer.codes, answer.slice_entropy, mask.array.astype(np.int64), role, volume.spacing_mm[1:]
    )
    assert found["named"] == [1.0], "a vertebra or disc has a wrong number"
    assert found["beside"][0] <= (0.06 if kind == "IVD" else 0.01)
    agreement = spearmanr(found["entropy"], found["dice"], nan_policy="omit").statistic
    assert agreement <= (-0.2 if kind == "IVD" else -0.6), "it is sure of its worst slices"
    for third, floor in FLOORS[kind].items():
        assert np.mean(found[third]) >= floor, (third, found[third])

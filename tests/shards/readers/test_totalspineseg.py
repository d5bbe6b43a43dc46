"""The output of TotalSpineSeg."""

import numpy as np
import pytest

from synthspine.gen.core.anatomy import CANAL, SACRUM, disc_code, vertebra_code
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.layouts import LAYOUTS, layout_of, series_of
from synthspine.shards.readers.levels import dense_codes
from synthspine.shards.readers.spider import write_mha
from synthspine.shards.readers.totalspineseg import TABLE
from synthspine.shards.reading.open import open_set

SPACING_MM = (4.0, 2.0, 1.5)
VALUES = {0: 0, 1: 45, 2: 44, 3: 43, 4: 42, 201: 100, 202: 95, 203: 94, 204: 93, 100: 2}


def own_values(mask, values=VALUES):
    return np.vectorize(values.get)(mask).astype(np.int16)


@pytest.fixture
def folder(tmp_path, spine_mask):
    place = tmp_path / "output"
    for patient in range(1, 5):
        mask = own_values(spine_mask(4))
        mask[2, 10:30, 28:30] = 1
        mask[1:-1, -5:, 16:26] = 50
        image = 100 * (mask > 0) + np.random.default_rng(patient).integers(1, 50, mask.shape)
        for contrast in ("T1w", "T2w"):
            write_mha(mask, SPACING_MM, "LPS", place / f"step2_output/sub-{patient:02d}_{contrast}.nii.gz")
            path = place / f"input/sub-{patient:02d}_{contrast}_0000.nii.gz"
            write_mha(image.astype(np.int16), SPACING_MM, "LPS", path)
    return place


def test_the_public_values_mean_what_the_source_says():
    public = {
        1: "cord",
        2: "canal",
        11: "C1",
        17: "C7",
        21: "T1",
        32: "T12",
        41: "L1",
        45: "L5",
        50: "sacrum",
    }
    public |= {63: "C2/C3", 67: "C6/C7", 71: "C7/T1", 72: "T1/T2", 82: "T11/T12", 91: "T12/L1", 95: "L4/L5"}
    for value, name in public.items():
        assert TABLE.labels[value].endswith(name), value
    assert str(TABLE) == "0, 1, 2, 11-17, 21-32, 41-46, 50, 63-67, 71-82, 91-96, 100"


def test_masks_become_dense_codes_with_the_cord_in_the_canal(folder, spine_mask):
    assert layout_of(folder).name == "totalspineseg"
    series = series_of(folder)
    assert [(s.stem, s.patient, s.contrast) for s in series[:2]] == [
        ("sub-01_T1w", "sub-01", "t1"),
        ("sub-01_T2w", "sub-01", "t2"),
    ]
    codes = LAYOUTS["totalspineseg"].read_mask(series[0]).array
    expected = dense_codes(spine_mask(4))
    expected[2, 10:30, 28:30] = CANAL
    expected[1:-1, -5:, 16:26] = SACRUM
    assert (codes == expected).all()


def test_a_scan_that_ends_above_l5_and_one_with_l6_keep_their_ranks():
    def codes(*values):
        return dense_codes(np.array(values).reshape(1, -1, 1), TABLE).ravel().tolist()

    assert codes(42, 43, 93) == [vertebra_code(4), vertebra_code(3), disc_code(4)]
    assert codes(45, 100) == [vertebra_code(1), disc_code(1)]
    assert codes(45, 96, 46, 100) == [vertebra_code(2), disc_code(2), vertebra_code(1), disc_code(1)]


def test_all_sets_are_built(folder, options):
    paths = ensure_sets(["labels", "real_t1_train", "real_t2_val"], options(folder))
    assert all(open_set(place).manifest.samples for place in paths.values())


def test_a_value_of_step_1_is_named(folder, spine_mask):
    path = folder / "step2_output/sub-01_T1w.nii.gz"
    write_mha(own_values(spine_mask(1), VALUES | {1: 60}), SPACING_MM, "LPS", path)
    with pytest.raises(
        SpiderError, match=r"sub-01_T1w\.nii\.gz: label 60 is not a TotalSpineSeg value \(0, 1, 2, 11"
    ):
        LAYOUTS["totalspineseg"].read_mask(series_of(folder)[0])

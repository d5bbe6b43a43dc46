"""The output of SPINEPS: two masks for each image."""

import numpy as np
import pytest

from synthspine.gen.core.anatomy import CANAL, IGNORE, SACRUM, disc_code, vertebra_code
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.layouts import LAYOUTS, layout_of, series_of
from synthspine.shards.readers.levels import dense_codes
from synthspine.shards.readers.spider import write_mha
from synthspine.shards.readers.spineps import TABLE
from synthspine.shards.reading.open import open_set

SPACING_MM = (4.0, 2.0, 1.5)
L5 = 24


def masks_of(spine, lowest=L5):
    """Vertebra mask and subregion mask of a block spine, whose lowest vertebra has the number ``lowest``."""
    vertebrae, subregions = np.zeros_like(spine), np.zeros_like(spine)
    for number in range(1, 5):
        vertebrae[spine == number] = lowest + 1 - number
        vertebrae[spine == 200 + number] = 100 + lowest + 1 - number
        subregions[spine == number] = 49
        subregions[spine == 200 + number] = 100
    subregions[spine == 100] = 61
    subregions[2, 10:30, 28:30] = 60
    return vertebrae, subregions


def write(folder, case, vertebrae, subregions):
    name = folder / f"derivatives_seg/{case}/{case}_mod-T2w_seg"
    write_mha(vertebrae, SPACING_MM, "LPS", name.with_name(f"{name.name}-vert_msk.nii.gz"))
    write_mha(subregions, SPACING_MM, "LPS", name.with_name(f"{name.name}-spine_msk.nii.gz"))


@pytest.fixture
def folder(tmp_path, spine_mask):
    place = tmp_path / "dataset"
    for patient in range(1, 5):
        spine = spine_mask(4)
        write(place, f"sub-{patient:02d}", *masks_of(spine))
        image = 100 * (spine > 0) + np.random.default_rng(patient).integers(1, 50, spine.shape)
        path = place / f"rawdata/sub-{patient:02d}/sub-{patient:02d}_T2w.nii.gz"
        write_mha(image.astype(np.int16), SPACING_MM, "LPS", path)
    return place


def read(folder, case="sub-01"):
    series = next(series for series in series_of(folder) if series.patient == case)
    return LAYOUTS["spineps"].read_mask(series).array


def test_the_public_values_mean_what_the_source_says():
    public = {
        1: "C1",
        7: "C7",
        8: "T1",
        19: "T12",
        28: "T13",
        20: "L1",
        24: "L5",
        25: "L6",
        26: "S1",
        29: "S2",
    }
    public |= {101: "disc C1", 124: "disc L5", 128: "disc T13", 60: "spinal cord", 61: "spinal canal"}
    for value, name in public.items():
        assert TABLE.labels[value] == name


def test_both_masks_give_one_mask_of_dense_codes(folder, spine_mask):
    assert layout_of(folder).name == "spineps"
    series = series_of(folder)[0]
    assert (series.stem, series.patient, series.contrast) == ("sub-01_T2w", "sub-01", "t2")
    assert series.image.name == "sub-01_T2w.nii.gz" and series.also[0].name.endswith("_seg-spine_msk.nii.gz")
    expected = dense_codes(spine_mask(4))
    expected[2, 10:30, 28:30] = CANAL
    assert (read(folder) == expected).all()


def test_end_plates_belong_to_the_nearest_vertebra(folder, spine_mask):
    spine = spine_mask(4)
    vertebrae, subregions = masks_of(spine)
    bottom = np.flatnonzero((spine == 2).any(axis=(0, 2)))[-1]
    below = np.flatnonzero((spine == 1).any(axis=(0, 2)))[0]
    for row, subregion in ((bottom + 1, 53), (below - 1, 52)):
        vertebrae[1:-1, row, 16:26] = 200 + L5 - 1
        subregions[1:-1, row, 16:26] = subregion
    write(folder, "sub-01", vertebrae, subregions)
    codes = read(folder)
    assert (codes[1:-1, bottom + 1, 16:26] == vertebra_code(2)).all()
    assert (codes[1:-1, below - 1, 16:26] == vertebra_code(1)).all()


def test_what_only_the_subregions_label_is_not_annotated(folder, spine_mask):
    vertebrae, subregions = masks_of(spine_mask(4))
    subregions[2, 0:3, 0:3] = 42
    subregions[2, -3:, 0:3] = 26
    write(folder, "sub-01", vertebrae, subregions)
    codes = read(folder)
    assert (codes[2, 0:3, 0:3] == IGNORE).all() and (codes[2, -3:, 0:3] == SACRUM).all()


def test_a_count_from_the_top_is_corrected_where_the_sacrum_is_labelled(folder, spine_mask):
    vertebrae, subregions = masks_of(spine_mask(4), lowest=5)
    write(folder, "sub-02", vertebrae, subregions)
    assert vertebra_code(20) in read(folder, "sub-02") and vertebra_code(1) not in read(folder, "sub-02")
    vertebrae[1:-1, -4:, 16:26] = 26
    write(folder, "sub-02", vertebrae, subregions)
    codes = read(folder, "sub-02")
    assert set(np.unique(codes)) == {0, 1, 2, 3, 4, *map(disc_code, (1, 2, 3, 4)), CANAL, SACRUM}


def test_all_sets_are_built(folder, options):
    paths = ensure_sets(["labels", "real_t1_train", "real_t2_val"], options(folder))
    assert [bool(open_set(place).manifest.samples) for place in paths.values()] == [True, False, True]


def test_the_second_mask_is_a_source_of_the_set(folder, options, spine_mask):
    ensure_sets(["labels"], options(folder))
    vertebrae, subregions = masks_of(spine_mask(4))
    subregions[2, -3:, 0:3] = 26
    for patient in range(1, 5):
        write(folder, f"sub-{patient:02d}", vertebrae, subregions)
    with pytest.raises(ValueError, match="was made with other"):
        ensure_sets(["labels"], options(folder))


def test_a_missing_second_mask_and_unknown_values_are_named(folder, spine_mask):
    spine = next(folder.glob("derivatives_seg/sub-01/*spine_msk*"))
    spine.unlink()
    with pytest.raises(
        SpiderError, match=r"seg-vert_msk\.nii\.gz: sub-01_mod-T2w_seg-spine_msk\.nii\.gz is not"
    ):
        series_of(folder)
    vertebrae, subregions = masks_of(spine_mask(4))
    subregions[0, 0, 0] = 77
    write(folder, "sub-01", vertebrae, subregions)
    with pytest.raises(SpiderError, match=r"spine_msk\.nii\.gz: label 77 is not a value of a subregion mask"):
        read(folder)
    vertebrae[0, 0, 0], subregions[0, 0, 0] = 45, 0
    write(folder, "sub-01", vertebrae, subregions)
    with pytest.raises(SpiderError, match=r"vert_msk\.nii\.gz: label 45 is not a SPINEPS value"):
        read(folder)
    write(folder, "sub-01", vertebrae[1:], subregions)
    with pytest.raises(SpiderError, match=r"spine_msk\.nii\.gz: shape 5 x 60 x 48 differs"):
        read(folder)

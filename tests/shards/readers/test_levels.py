import numpy as np
import pytest
import SimpleITK as sitk

from synthspine.gen.core.anatomy import CANAL, SACRUM, disc_code, spider_values, vertebra_code
from synthspine.shards.readers.folder import find_series
from synthspine.shards.readers.levels import dense_codes
from synthspine.shards.readers.spider import read_mask


def test_levels_are_counted_from_the_bottom(spine_mask):
    mask = spine_mask(3)
    codes = dense_codes(mask)
    for number in (1, 2, 3):
        assert (codes[mask == number] == vertebra_code(number)).all()
        assert (codes[mask == 200 + number] == disc_code(number)).all()
    assert (codes[mask == 100] == CANAL).all()
    assert (codes[mask == 0] == 0).all()


def test_a_copy_that_counts_from_24_downward_gives_the_same_codes(spine_mask):
    renumbered = spine_mask(4, renumber=lambda number: 25 - number)
    assert (dense_codes(renumbered) == dense_codes(spine_mask(4))).all()


def test_a_mask_whose_lowest_value_is_two_starts_at_rank_one(spine_mask):
    assert (dense_codes(spine_mask(3, renumber=lambda n: n + 1)) == dense_codes(spine_mask(3))).all()


def test_a_partly_visible_vertebra_gets_the_rank_of_its_place(spine_mask):
    mask = spine_mask(3)
    partial = mask.copy()
    partial[mask == 3] = 103
    assert (dense_codes(partial) == dense_codes(mask)).all()


def test_a_partly_visible_vertebra_may_share_its_number_with_a_whole_one(spine_mask):
    mask = spine_mask(4)
    twin = mask.copy()
    twin[mask == 4] = 103
    twin[mask == 204] = 0
    codes = dense_codes(twin)
    assert (codes[mask == 3] == vertebra_code(3)).all()
    assert (codes[mask == 4] == vertebra_code(4)).all()
    assert (codes[mask == 203] == disc_code(3)).all()


def test_a_disc_without_its_vertebra_keeps_its_level(spine_mask):
    mask = spine_mask(3)
    mask[mask == 2] = 0
    codes = dense_codes(mask)
    assert (codes[mask == 202] == disc_code(2)).all()
    assert (codes[mask == 3] == vertebra_code(3)).all()


def test_an_arch_below_the_disc_does_not_change_the_level(spine_mask):
    mask = spine_mask(3)
    expected = dense_codes(mask)
    # In a lordotic spine the centroid of L5 with its arch lies lower than the L5/S1 disc.
    lowest = mask.shape[1] - 6
    mask[1:-1, lowest:, 34:46] = 1
    mask[1:-1, lowest - 10 : lowest - 4, 16:26] = 0
    rows = np.arange(mask.shape[1])[None, :, None]
    assert (rows * (mask == 1)).sum() / (mask == 1).sum() > (rows * (mask == 201)).sum() / (mask == 201).sum()
    codes = dense_codes(mask)
    for value in (2, 3, 201, 202, 203):
        assert (codes[mask == value] == expected[mask == value]).all()


@pytest.mark.parametrize("value", [26, 99, 126, 200, 226, 255, 300, -1])
def test_a_value_that_spider_does_not_have_is_named(spine_mask, value):
    mask = spine_mask(2)
    mask[0, 0, 0] = value
    with pytest.raises(ValueError, match=rf"label {value} is not a SPIDER value \(0, 1-25, 61, 100"):
        dense_codes(mask)


def test_an_empty_mask_is_refused(spine_mask):
    with pytest.raises(ValueError, match="nothing is labelled"):
        dense_codes(np.zeros_like(spine_mask()))


def test_ranks_of_real_masks_are_their_values(spider_mini):
    # SPIDER's public values count from the bottom, so position and value must agree in all of them.
    series = find_series(spider_mini / "pairs")
    for entry in series:
        volume = read_mask(entry.mask)
        stored = sitk.GetArrayFromImage(sitk.DICOMOrient(volume.reference, "PIR"))
        assert (spider_values()[volume.array] == stored).all(), entry.stem
    assert len(series) == 38


def test_a_predicted_mask_with_sacrum_and_posterior_elements_is_read_back(spine_mask):
    whole = spine_mask(3)
    predicted = whole.copy()
    behind = np.arange(whole.shape[2]) > np.median(np.nonzero(whole == 2)[2])
    vertebra = (whole >= 1) & (whole <= 3)
    predicted[vertebra & behind] += 130
    predicted[:, -2:] = 61
    codes, expected = dense_codes(predicted), dense_codes(whole)
    assert {131, 132, 133} <= set(np.unique(predicted).tolist())
    assert (codes[predicted == 61] == SACRUM).all()
    assert (codes[predicted != 61] == expected[predicted != 61]).all()


def test_posterior_elements_alone_have_a_level(spine_mask):
    mask = spine_mask(3)
    expected = dense_codes(mask)
    mask[mask == 2] = 132
    assert (dense_codes(mask) == expected).all()


@pytest.mark.parametrize("vertebrae", [2, 3, 4])
@pytest.mark.parametrize("downward", [False, True])
def test_a_mask_that_was_renumbered_without_gaps_is_refused_with_a_hint(spine_mask, vertebrae, downward):
    mask = spine_mask(vertebrae, (lambda n: 10 - n) if downward else (lambda n: n))
    renumbered = np.unique(mask, return_inverse=True)[1].reshape(mask.shape)
    assert set(np.unique(renumbered)) == set(range(2 * vertebrae + 2))
    with pytest.raises(ValueError, match=r"do not follow each other .*--labels-layout nnunet"):
        dense_codes(renumbered)


def test_discs_renumbered_as_vertebrae_are_refused_and_vertebrae_alone_are_not(spine_mask):
    mask = spine_mask(4)
    mask[mask == 100] = 0
    with pytest.raises(ValueError, match="labels 1 to 8 do not follow each other"):
        dense_codes(np.where(mask > 200, mask - 196, mask))
    alone = np.where(mask > 200, 0, mask)
    assert (dense_codes(alone) == alone).all()
    upside_down = np.where(alone > 0, 12 - alone, 0)
    assert (dense_codes(upside_down) == alone).all()


def test_vertebrae_alone_of_real_masks_are_read(spider_mini):
    for entry in find_series(spider_mini / "labels")[:12:4]:
        values = spider_values()[read_mask(entry.mask).array]
        alone = np.where(values <= 25, values, 0)
        ranks = np.unique(alone)
        assert len(ranks) > 2, entry.stem
        assert np.array_equal(np.unique(dense_codes(alone)), ranks), entry.stem
        renumbered = np.unique(values, return_inverse=True)[1].reshape(values.shape)
        with pytest.raises(ValueError, match="do not follow each other"):
            dense_codes(renumbered)


def test_a_mask_that_its_header_turns_over_is_refused(spine_mask):
    with pytest.raises(ValueError, match="is turned over: the spinal canal lies in front of the discs"):
        dense_codes(spine_mask(3)[:, :, ::-1])

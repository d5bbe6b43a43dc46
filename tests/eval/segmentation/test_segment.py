import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from synthspine.eval.segmentation.presence import MOST_ENTROPY
from synthspine.eval.segmentation.segment import PIXELS_AT_ONCE, field_of_view
from synthspine.eval.segmentation.segment import segment_volume as segment
from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code
from synthspine.gen.core.schemes import label_scheme
from synthspine.shards.readers.spider import Volume


class Thresholds(nn.Module):
    """Takes the class from the brightness: class = round(15 x image), by distance."""

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.shapes = []

    def forward(self, image):
        self.shapes.append(tuple(image.shape))
        assert image.shape[-1] % 16 == 0
        assert image.shape[-2] % 16 == 0
        levels = torch.arange(self.num_classes)[None, :, None, None] / 15
        return -1e4 * (image - levels) ** 2


def segment_volume(model, volume, **options):
    scheme = label_scheme(getattr(model, "num_classes", 4))
    return segment(model, volume, **{"scheme": scheme, **options})


def volume_of(codes, scheme, spacing):
    classes = label_scheme(scheme).encode(torch.from_numpy(codes)).numpy().astype(np.float32)
    # Two marks fix the percentiles of the normalisation, so that a pixel is its class / 15.
    image = classes / 15
    image[:, :6] = 1.0
    image[:, 6:12, :4] = -0.001
    return Volume(array=image, spacing_mm=(4.0, *spacing), reference=sitk.Image(4, 4, 4, sitk.sitkInt16))


def body(codes):
    inner = np.ones_like(codes, dtype=bool)
    inner[:, :12] = False
    return inner


def test_four_class_answer_gets_ranks(spine):
    codes = spine(levels=5, slices=2)
    got = segment_volume(Thresholds(4), volume_of(codes, "4", (1.0, 1.0)), spacing_mm=1.0).codes
    inner = body(codes)
    assert (got[inner] == codes[inner]).mean() > 0.999
    assert {vertebra_code(1), disc_code(5), CANAL} <= set(np.unique(got))


def test_answer_lies_on_the_native_grid(spine):
    codes = spine(levels=5)
    fine = np.repeat(np.repeat(codes, 2, axis=1), 3, axis=2)
    got = segment_volume(Thresholds(4), volume_of(fine, "4", (0.5, 1 / 3)), spacing_mm=1.0).codes
    assert got.shape == fine.shape
    inner = body(fine)
    inner[:, :30] = False
    assert (got[inner] == fine[inner]).mean() > 0.97


def test_answer_is_not_shifted(spine):
    codes = spine(levels=5, arches=False, lean=0.0)
    fine = np.repeat(np.repeat(codes, 2, axis=1), 2, axis=2)
    got = segment_volume(Thresholds(4), volume_of(fine, "4", (0.5, 0.5)), spacing_mm=1.0).codes
    for code in (vertebra_code(2), disc_code(3)):
        truth, found = np.argwhere(fine == code), np.argwhere(got == code)
        np.testing.assert_allclose(found.mean(axis=0), truth.mean(axis=0), atol=0.5)


def test_odd_sizes_are_padded_for_the_network(spine):
    codes = spine(levels=5)[:, :311, :203]
    model = Thresholds(4)
    got = segment_volume(model, volume_of(codes, "4", (1.0, 1.0)), spacing_mm=1.0).codes
    assert got.shape == codes.shape
    assert model.shapes == [(1, 1, 320, 208)]
    inner = body(codes)
    assert (got[inner] == codes[inner]).mean() > 0.999


def test_fourteen_classes_keep_the_ranks_of_the_model():
    codes = np.zeros((1, 64, 64), dtype=np.uint8)
    codes[0, 20:40, 10:40] = vertebra_code(4)
    codes[0, 45:60, 10:40] = disc_code(3)
    got = segment_volume(
        Thresholds(14), volume_of(codes, "14", (1.0, 1.0)), spacing_mm=1.0, ranks="model", always=True
    ).codes
    assert (got[0, 22:38, 12:38] == vertebra_code(4)).all()
    assert (got[0, 47:58, 12:38] == disc_code(3)).all()


def test_ranks_of_fourteen_classes_can_be_counted_instead(spine):
    codes = spine(levels=5)
    confused = codes.copy()
    confused[codes == vertebra_code(2)] = vertebra_code(5)
    confused[codes == disc_code(2)] = disc_code(5)
    got = segment_volume(
        Thresholds(14), volume_of(confused, "14", (1.0, 1.0)), spacing_mm=1.0, ranks="count"
    ).codes
    found = (got == vertebra_code(2)) & (codes == vertebra_code(2))
    assert found.sum() > 0.9 * (codes == vertebra_code(2)).sum()


def test_ranks_of_fourteen_classes_are_put_in_order(spine):
    codes = spine(levels=5)
    confused = codes.copy()
    confused[codes == vertebra_code(5)] = vertebra_code(4)
    confused[codes == disc_code(5)] = disc_code(4)
    volume = volume_of(confused, "14", (1.0, 1.0))
    got = segment_volume(Thresholds(14), volume, spacing_mm=1.0).codes
    for code in (vertebra_code(5), disc_code(5), vertebra_code(2)):
        assert ((got == code) & (codes == code)).sum() > 0.9 * (codes == code).sum()
    left = segment_volume(Thresholds(14), volume, spacing_mm=1.0, ranks="model").codes
    assert not (left == vertebra_code(5))[codes == vertebra_code(5)].any()


def test_the_model_says_where_the_count_of_a_cut_off_spine_starts(spine):
    whole = spine(levels=5)
    # The scan ends above the second vertebra.
    codes = whole[:, : np.flatnonzero((whole == vertebra_code(2)).any(axis=(0, 2)))[0] - 2]
    got = segment_volume(Thresholds(14), volume_of(codes, "14", (1.0, 1.0)), spacing_mm=1.0).codes
    for code in (vertebra_code(3), vertebra_code(4), disc_code(4)):
        assert ((got == code) & (codes == code)).sum() > 0.9 * (codes == code).sum()


def test_slices_go_through_the_network_in_parts_that_fit(spine, monkeypatch):
    monkeypatch.setitem(PIXELS_AT_ONCE, "cpu", 2 * 320 * 256)
    model = Thresholds(4)
    volume = volume_of(spine(levels=5, slices=5), "4", (1.0, 1.0))
    whole = segment_volume(Thresholds(4), volume, spacing_mm=1.0).codes
    assert np.array_equal(segment_volume(model, volume, spacing_mm=1.0).codes, whole)
    assert [shape[0] for shape in model.shapes] == [2, 2, 1]
    monkeypatch.setitem(PIXELS_AT_ONCE, "cpu", 1)
    single = Thresholds(4)
    assert np.array_equal(segment_volume(single, volume, spacing_mm=1.0).codes, whole)
    assert [shape[0] for shape in single.shapes] == [1] * 5


def test_entropy_is_that_of_structures_and_not_of_ranks(spine):
    class Torn(nn.Module):
        """Sure that there is vertebra everywhere, torn between two ranks."""

        num_classes = 14

        def forward(self, image):
            logits = torch.full((len(image), 14, *image.shape[2:]), -30.0)
            logits[:, 1:3] = 0.0
            return logits

    answer = segment_volume(Torn(), volume_of(spine(levels=5), "4", (1.0, 1.0)), spacing_mm=1.0)
    assert answer.entropy == pytest.approx(0.0, abs=1e-6)


def test_entropy_and_share_of_islands_are_told():
    class Even(nn.Module):
        """Vertebra as likely as canal, in a small square and a large one; background elsewhere."""

        def forward(self, image):
            logits = torch.zeros(len(image), 4, *image.shape[2:])
            logits[:, 0] = 30.0
            for rows, columns in ((slice(4, 8), slice(4, 8)), (slice(20, 40), slice(20, 40))):
                logits[:, :, rows, columns] = torch.tensor([-30.0, 0.0, -30.0, 0.0])[None, :, None, None]
            return logits

    image = np.random.default_rng(0).random((1, 64, 64), dtype=np.float32)
    volume = Volume(array=image, spacing_mm=(4.0, 1.0, 1.0), reference=sitk.Image(4, 4, 4, sitk.sitkInt16))
    answer = segment_volume(Even(), volume, spacing_mm=1.0)
    assert answer.entropy == pytest.approx(np.log(2), rel=1e-4)
    assert answer.removed == pytest.approx(16 / 416)


def test_four_classes_have_no_ranks_to_give(spine):
    volume = volume_of(spine(levels=5), "4", (1.0, 1.0))
    with pytest.raises(ValueError, match="4 classes has no ranks"):
        segment_volume(Thresholds(4), volume, spacing_mm=1.0, ranks="model")


def test_islands_go():
    codes = np.zeros((1, 64, 64), dtype=np.uint8)
    codes[0, 20:40, 10:40] = vertebra_code(1)
    codes[0, 50:53, 50:53] = vertebra_code(1)
    volume = volume_of(codes, "14", (1.0, 1.0))
    kept = segment_volume(Thresholds(14), volume, spacing_mm=1.0, min_island_mm2=5.0, always=True).codes
    cleaned = segment_volume(Thresholds(14), volume, spacing_mm=1.0, min_island_mm2=25.0, always=True).codes
    assert kept[0, 51, 51]
    assert not cleaned[0, 45:60, 45:60].any()
    assert cleaned[0, 30, 20]


def test_blank_slices_and_padding_get_no_label(spine):
    class Vertebra(Thresholds):
        """Finds its spine, and a vertebra wherever the image is blank."""

        def forward(self, image):
            logits = super().forward(image)
            blank = (image == image[:, :, :1, -1:]).expand(-1, self.num_classes, -1, -1)
            vertebra = torch.zeros_like(logits)
            vertebra[:, 1] = 100.0
            return torch.where(blank, vertebra, logits)

    codes = spine(levels=5, slices=4)
    volume = volume_of(codes, "4", (1.0, 1.0))
    rng = np.random.default_rng(0)
    volume.array[...] += rng.uniform(0, 0.004, volume.array.shape).astype(np.float32)
    volume.array[0] = 0.3
    volume.array[:, :, 180:] = 0.3
    got = segment_volume(Vertebra(4), volume, spacing_mm=1.0)
    assert not got.codes[0].any() and not got.codes[:, :, 180:].any()
    assert np.isnan(got.slice_entropy[0]) and not np.isnan(got.slice_entropy[1:]).any()
    assert {vertebra_code(1), disc_code(5), CANAL} <= set(np.unique(got.codes[1:]))
    view = field_of_view(volume.array)
    assert not view[0].any() and not view[:, :, 180:].any() and view[1:, :, :178].all()


def test_a_dark_region_within_the_scan_is_in_view():
    array = np.random.default_rng(0).random((1, 64, 64), dtype=np.float32)
    array[0, 20:40, 20:40] = 0.0
    assert field_of_view(array).all()


def test_single_pieces_are_no_spine_and_are_labelled_on_request(spine):
    codes = spine(levels=5, slices=2)
    pieces = np.where(np.isin(codes, (vertebra_code(2), disc_code(2), vertebra_code(3))), codes, 0)
    volume = volume_of(pieces, "4", (1.0, 1.0))
    assert not segment_volume(Thresholds(4), volume, spacing_mm=1.0).codes.any()
    assert segment_volume(Thresholds(4), volume, spacing_mm=1.0, always=True).codes.any()
    seen = volume_of(np.where(codes == CANAL, codes, pieces), "4", (1.0, 1.0))
    assert segment_volume(Thresholds(4), seen, spacing_mm=1.0).codes.any()


def test_a_wrong_pixel_size_is_found_by_trying_others(spine):
    class OneScale(Thresholds):
        """Unsure of pictures larger than the one it learned from."""

        def forward(self, image):
            return super().forward(image) * (1.0 if image.shape[-2] <= 320 else 0.004)

    codes = spine(levels=5, slices=3)
    for factor, scale in ((1.0, None), (2.0, 0.5)):
        volume = volume_of(codes, "4", (factor, factor))
        assert segment_volume(OneScale(4), volume, spacing_mm=1.0).scale == scale


def test_a_scan_without_a_sure_slice_shows_no_spine(spine):
    class Unsure(Thresholds):
        def forward(self, image):
            return super().forward(image) * self.sharpness

    volume = volume_of(spine(levels=5, slices=2), "4", (1.0, 1.0))
    model = Unsure(4)
    found = []
    for sharpness in (1.0, 0.004):
        model.sharpness = sharpness
        answer = segment_volume(model, volume, spacing_mm=1.0)
        found.append(bool(answer.codes.any()))
    assert found == [True, False] and min(answer.slice_entropy) > MOST_ENTROPY

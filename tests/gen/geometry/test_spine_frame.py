"""Where the spine is found."""

import numpy as np
import torch

from synthspine.gen.core.anatomy import BACKGROUND, CANAL, disc_code, vertebra_code
from synthspine.gen.geometry.spine_frame import find_spine

SPACING = (1.3, 0.8)


def _course(codes: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Column of the canal's middle per row in pixels, in float64, row by row."""
    height, width = codes.shape
    index = np.arange(width)
    canal = codes == CANAL
    bodies = ((codes >= 1) & (codes <= 25)) | ((codes >= 31) & (codes <= 55))
    weight = canal.sum(1) + 1e-4 * bodies.sum(1)
    moment = (canal * index).sum(1) + 1e-4 * (bodies * (index + 25.0 / spacing[1])).sum(1)
    course = np.zeros(height)
    for row in range(height):
        distance = (np.arange(height) - row) * spacing[0]
        near = sum(w * np.exp(-0.5 * (distance / s) ** 2) for s, w in ((8, 1), (30, 1e-3), (120, 1e-6)))
        course[row] = ((near * moment).sum() + 1e-20 * (width - 1) / 2) / ((near * weight).sum() + 1e-20)
    return course


def test_the_canal_course_equals_a_sum_in_float64(bank):
    frame = find_spine(bank, SPACING)
    for codes, behind in zip(bank.numpy(), frame.behind_mm.numpy(), strict=True):
        expected = (np.arange(80) - _course(codes, SPACING)[:, None]) * SPACING[1]
        np.testing.assert_allclose(behind, expected, atol=2e-3)


def test_the_canal_course_follows_the_canal_and_goes_on_beyond_it(bank):
    frame = find_spine(bank[:1], (1.0, 1.0))
    columns = torch.arange(80.0) - 39.5
    on_canal = bank[0] == CANAL
    assert frame.behind_mm[0][on_canal].abs().max() < 6
    assert torch.allclose(frame.behind_mm[0, 95], columns - (50.5 - 39.5), atol=1.0)


def test_the_frame_is_found_from_the_bodies_where_no_canal_is_seen(bank):
    without = torch.where(bank == CANAL, BACKGROUND, bank)
    frame = find_spine(without[:1], (1.0, 1.0))
    body = without[0] == vertebra_code(2)
    assert torch.isfinite(frame.behind_mm).all()
    assert frame.behind_mm[0][body].mean() < 0


def test_the_lowest_body_and_disc_are_means_of_their_pixels_without_the_arch(bank):
    frame = find_spine(bank, SPACING)
    for sample, codes in enumerate(bank.numpy()):
        row, column = np.nonzero(codes == vertebra_code(1))
        body = column < 50
        middle = np.array([row[body].mean() - 47.5, column[body].mean() - 39.5]) * SPACING
        np.testing.assert_allclose(frame.body_mm[sample], middle, atol=1e-4)
        row, column = np.nonzero(codes == disc_code(1))
        disc = np.array([row.mean() - 47.5, column.mean() - 39.5]) * SPACING
        np.testing.assert_allclose(frame.step_mm[sample], disc - middle, atol=1e-4)
    assert frame.has_lowest.all()


def test_head_and_foot_are_the_ends_of_what_is_labelled(bank):
    frame = find_spine(bank, SPACING)
    for sample, codes in enumerate(bank.numpy()):
        row = np.nonzero((codes > 0) & (codes < CANAL))[0]
        np.testing.assert_allclose(frame.head_mm[sample], (row.min() - 47.5) * SPACING[0], atol=1e-4)
        np.testing.assert_allclose(frame.foot_mm[sample], (row.max() - 47.5) * SPACING[0], atol=1e-4)


def test_an_empty_map_has_its_middle_for_a_canal_and_its_borders_for_ends():
    frame = find_spine(torch.zeros(2, 7, 9, dtype=torch.uint8), (1.0, 2.0))
    assert torch.allclose(frame.behind_mm[0, 0], (torch.arange(9) - 4.0) * 2)
    assert not frame.has_lowest.any()
    assert frame.head_mm.tolist() == [-3, -3] and frame.foot_mm.tolist() == [3, 3]


def test_a_map_without_its_lowest_disc_says_so(bank):
    frame = find_spine(torch.where(bank == disc_code(1), BACKGROUND, bank), (1.0, 1.0))
    assert not frame.has_lowest.any()


def test_a_volume_of_equal_slices_has_the_frame_of_one(bank):
    flat = find_spine(bank, (1.0, 1.0))
    deep = find_spine(bank.unsqueeze(1).expand(-1, 3, -1, -1).contiguous(), (4.0, 1.0, 1.0))
    assert torch.allclose(deep.behind_mm, flat.behind_mm.unsqueeze(1).expand_as(deep.behind_mm), atol=1e-3)
    for name in ("body_mm", "step_mm", "head_mm", "foot_mm"):
        assert torch.allclose(getattr(deep, name), getattr(flat, name), atol=1e-5)


def test_a_sample_is_found_alike_alone_and_in_a_batch(bank):
    together = find_spine(bank, SPACING)
    alone = find_spine(bank[2:], SPACING)
    for name in ("behind_mm", "body_mm", "step_mm", "has_lowest", "head_mm", "foot_mm"):
        assert torch.equal(getattr(together, name)[2:], getattr(alone, name))


def test_finding_needs_no_values_on_the_host(bank):
    assert find_spine(bank.to("meta"), SPACING).behind_mm.shape == bank.shape


def test_one_pixel_is_a_map_too():
    for shape in ((1, 1, 2), (1, 1, 1, 1)):
        frame = find_spine(torch.zeros(shape, dtype=torch.uint8), (1.0,) * (len(shape) - 1))
        assert torch.isfinite(frame.behind_mm).all()

"""The zipper line."""

import pytest
import torch

from synthspine.gen.core.counter_rng import sample_keys
from synthspine.gen.scanner.noise import ZipperParams, add_zipper


def _params(along_rows: float) -> ZipperParams:
    return ZipperParams(
        key=sample_keys(0, torch.arange(1)),
        along_rows=torch.tensor([along_rows]),
        strength=torch.tensor([0.5]),
        place=torch.tensor([0.43]),
        width_mm=torch.tensor([1.4]),
    )


@pytest.mark.parametrize("along_rows", [1.0, 0.0])
def test_only_pixels_near_the_line_change_and_no_more_than_asked(along_rows):
    image = torch.rand(1, 200, 200, generator=torch.Generator().manual_seed(0))
    added = (add_zipper(image, _params(along_rows), (1.0, 1.0)) - image)[0]
    across = added.amax(0) if along_rows else added.amax(1)
    assert [i for i, value in enumerate(across.tolist()) if value > 1e-6] == [85, 86, 87]
    assert added.min() >= 0
    assert 0.9 * 0.5 * image.max() < added.max() <= 0.5 * image.max()


def test_dashes_differ_along_the_line_and_between_slices():
    image = torch.ones(1, 2, 60, 50)
    zipped = add_zipper(image, _params(1.0), (3.0, 1.0, 1.0))[0, :, :, 21]
    assert zipped.unique().numel() == 120
    assert abs(zipped.mean() - 1.25) < 0.06

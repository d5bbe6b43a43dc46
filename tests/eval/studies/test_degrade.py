import pytest
import SimpleITK as sitk
import torch

from synthspine.eval.studies.degrade import degrade

FACTORS = [1.0, 1.3, 2.0, 2.5, 3.0, 4.0, 7.7]


def blob(height, width, row, column, sigma=12.0):
    rows = torch.arange(height, dtype=torch.float64)[:, None]
    columns = torch.arange(width, dtype=torch.float64)
    return torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))


def centroid(image):
    rows = torch.arange(image.shape[-2], dtype=image.dtype)
    columns = torch.arange(image.shape[-1], dtype=image.dtype)
    total = image.sum()
    return (image.sum(dim=1) @ rows / total).item(), (image.sum(dim=0) @ columns / total).item()


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("place", [(80.0, 64.0), (83.3, 51.9), (71.25, 70.5)])
def test_centroid_does_not_move(factor, place):
    image = blob(160, 130, *place)
    assert centroid(degrade(image, factor)) == pytest.approx(centroid(image), abs=0.01)


@pytest.mark.parametrize("factor", FACTORS)
def test_constant_stays_constant(factor):
    image = torch.full((2, 1, 47, 64), 0.37)
    torch.testing.assert_close(degrade(image, factor), image)


def test_factor_one_is_the_identity():
    image = torch.rand(2, 1, 20, 30, generator=torch.Generator().manual_seed(1))
    assert torch.equal(degrade(image, 1.0), image)


@pytest.mark.parametrize("factor", FACTORS)
def test_ramp_comes_back_inside(factor):
    ramp = torch.linspace(0, 1, 96, dtype=torch.float64).expand(40, 96)
    torch.testing.assert_close(degrade(ramp, factor)[:, 8:-8], ramp[:, 8:-8])


@pytest.mark.parametrize("factor", FACTORS)
def test_flip_and_degrade_commute(factor):
    image = torch.rand(1, 1, 45, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(degrade(image.flip(-1, -2), factor), degrade(image, factor).flip(-1, -2))


def test_whole_factor_averages_blocks():
    image = torch.rand(1, 1, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    blocks = torch.nn.functional.avg_pool2d(image, 4)
    back = torch.nn.functional.interpolate(blocks, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(degrade(image, 4.0), back)


def test_fine_stripes_do_not_alias():
    stripes = (torch.arange(128) % 2).double().expand(64, 128)
    assert degrade(stripes, 4.0).sub(0.5).abs().max() < 1e-9


@pytest.mark.parametrize("factor", [0.5, 0.0, -1.0, float("nan"), float("inf")])
def test_factor_below_one_is_refused(factor):
    with pytest.raises(ValueError, match="resolution factor"):
        degrade(torch.zeros(4, 4), factor)


def test_image_smaller_than_one_pixel_of_the_grid_becomes_its_mean():
    image = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    torch.testing.assert_close(degrade(image, 5.0), torch.full((2, 2), 0.5))


def sitk_degrade(image, factor):
    """The same by SimpleITK: pixels split so that the factor is whole, bins averaged, interpolated."""
    split = 1 if float(factor).is_integer() else 2
    bins = round(factor * split)
    assert bins == factor * split
    source = sitk.GetImageFromArray(image.numpy().repeat(split, axis=0).repeat(split, axis=1))
    source.SetSpacing((1 / split, 1 / split))
    source.SetOrigin(((1 / split - 1) / 2,) * 2)
    coarse = sitk.BinShrink(source, [bins, bins])
    grid = sitk.GetImageFromArray(image.numpy())
    # Beyond the middles of the outer bins the interpolator would find nothing.
    back = sitk.Resample(coarse, grid, sitk.Transform(), sitk.sitkLinear, -1.0)
    return torch.from_numpy(sitk.GetArrayFromImage(back))


@pytest.mark.parametrize("factor", [1.5, 2.0, 2.5, 3.0, 4.0])
def test_simpleitk_gives_the_same_inside(factor):
    """Area average and interpolation in physical coordinates by another library; sizes that bins divide."""
    size = 120
    image = blob(size, size, 52.3, 66.1, sigma=7.0)
    image = image + 0.5 * blob(size, size, 80.0, 40.0, sigma=5.0)
    inside = slice(8, -8)
    ours, theirs = degrade(image, factor)[inside, inside], sitk_degrade(image, factor)[inside, inside]
    assert theirs.min() >= 0
    # Whole factors are the same operator; for others SimpleITK sees a staircase of split pixels.
    tolerance = 1e-9 if float(factor).is_integer() else 0.02
    assert (ours - theirs).abs().max() < tolerance
    if factor > 1.5:
        assert (image[inside, inside] - theirs).abs().max() > 2 * (ours - theirs).abs().max()
    shifted = torch.roll(degrade(image, factor), 1, dims=1)[inside, inside]
    assert (shifted - theirs).abs().max() > 0.05

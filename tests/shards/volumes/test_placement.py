import numpy as np
import pytest
import SimpleITK as sitk

from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.spider import check_pair, read_image, write_mha

SPACING = (4.0, 1.0, 1.0)


def pair(tmp_path, change, *, storage="LPS"):
    """An image, and a mask of its grid whose header was changed."""
    array = np.random.default_rng(0).integers(0, 99, (8, 60, 60)).astype(np.int16)
    write_mha(array, SPACING, storage, tmp_path / "image.mha")
    image = sitk.ReadImage(str(tmp_path / "image.mha"))
    image.SetOrigin((-16.0, -30.0, 30.0))
    sitk.WriteImage(image, str(tmp_path / "image.mha"))
    change(image)
    sitk.WriteImage(image, str(tmp_path / "mask.mha"))
    read = [read_image(tmp_path / name) for name in ("image.mha", "mask.mha")]
    return check_pair(*read, tmp_path / "mask.mha")


def turn(image, axis, degrees):
    """Turn an image about its centre."""
    centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    a, b = [other for other in range(3) if other != axis]
    matrix = np.eye(3)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix[[a, a, b, b], [a, b, a, b]] = c, -s, s, c
    image.SetDirection((matrix @ np.array(image.GetDirection()).reshape(3, 3)).ravel().tolist())
    image.SetOrigin((matrix @ (np.array(image.GetOrigin()) - centre) + centre).tolist())


def moved(by):
    def change(image):
        image.SetOrigin([value + step for value, step in zip(image.GetOrigin(), by, strict=True)])

    return change


def directed(*directions):
    return lambda image: image.SetDirection(np.diag(directions).astype(float).ravel().tolist())


def test_a_mask_on_its_image_is_taken_without_a_word(tmp_path):
    assert pair(tmp_path, lambda image: None) is None
    assert pair(tmp_path, lambda image: turn(image, 0, 3.0)) is None
    assert pair(tmp_path, moved((0, 2, 2))) is None


def test_a_shift_of_centimetres_is_said(tmp_path):
    assert pair(tmp_path, moved((3, 15, -12))) == "lies 19 mm away from its image"


@pytest.mark.parametrize("storage", ["LPS", "PIR"])
def test_another_storage_of_one_place_is_taken(tmp_path, storage):
    def stored_otherwise(image):
        other = sitk.DICOMOrient(image, "RAI")
        image.SetDirection(other.GetDirection())
        image.SetOrigin(other.GetOrigin())

    if storage == "LPS":
        assert pair(tmp_path, stored_otherwise) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (moved((0, 0, 100)), "does not lie on its image: it does not overlap it, 100 mm away"),
        (moved((0, 25, 25)), "does not lie on its image: it covers 34% of it, 35 mm away"),
        (directed(-1, -1, 1), "does not lie on its image"),
        (lambda image: (directed(1, -1, -1)(image), image.SetOrigin((0, 0, 0))), "does not lie on its image"),
        (lambda image: turn(image, 0, 30), "is turned against its image by 30 degrees"),
        (lambda image: turn(image, 2, -25), "is turned against its image by 25 degrees"),
        (lambda image: (turn(image, 0, 180), moved((0, 14, 0))(image)), "is turned over against its image"),
    ],
)
def test_a_mask_that_is_not_on_its_image_is_refused(tmp_path, change, message):
    with pytest.raises(SpiderError, match=rf"mask\.mha: {message}"):
        pair(tmp_path, change)

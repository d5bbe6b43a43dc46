import itertools

import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from synthspine.gen import SpineSynthGenerator
from synthspine.gen.patient_axes import picture_of

RIP = np.array([[4.0, 0, 0, 1], [0, 0, -2.0, 2], [0, -2.0, 0, 3], [0, 0, 0, 1]])
"""Slices towards the right, rows towards the feet, columns towards the back."""
ORIENTATIONS = ["RIP", "RAS", "LPS", "PIR", "IRA"]


@pytest.fixture(scope="module")
def generator():
    return SpineSynthGenerator("T2", seed=3)


def volume(slices=3):
    labels = torch.zeros(slices, 40, 32, dtype=torch.uint8)
    labels[:, 6:16, 8:18], labels[:, 16:19, 8:18], labels[0, 4:36, 20:25] = 1, 7, 13
    return labels


def turned(labels, codes):
    """The same anatomy stored along other axes, with its affine."""
    turn = ornt_transform(io_orientation(RIP), axcodes2ornt(codes))
    order = np.argsort(turn[:, 0]).tolist()
    flips = np.flatnonzero(turn[:, 1] < 0).tolist()
    return labels.flip(flips).permute(order), RIP @ inv_ornt_aff(turn, labels.shape), order, flips


@pytest.mark.parametrize(("codes", "deform"), list(itertools.product(ORIENTATIONS, [False, True])))
def test_the_picture_is_that_of_the_anatomy_however_it_is_stored(generator, codes, deform):
    expected = picture_of(generator, volume(), RIP, 5, deform=deform)
    labels, affine, order, flips = turned(volume(), codes)
    for wanted, found in zip(expected, picture_of(generator, labels, affine, 5, deform=deform), strict=True):
        assert torch.equal(found, wanted.flip(flips).permute(order))


def test_the_affine_gives_the_spacing_and_the_generator_keeps_its_own(generator):
    image, labels = picture_of(generator, volume(), RIP, 5)
    own = SpineSynthGenerator("T2", seed=3, spacing_mm=2.0).generate_synthetic_mri(volume(), index=5)
    assert torch.equal(labels, volume()) and torch.equal(image, own)
    assert generator.config.spacing_mm == 1.0


def test_one_slice_is_a_slice(generator):
    image, _ = picture_of(generator, volume(1), RIP, 5)
    own = SpineSynthGenerator("T2", seed=3, spacing_mm=2.0).generate_synthetic_mri(volume(1)[0], index=5)
    assert torch.equal(image[0], own)
    plain, _ = picture_of(generator, volume(1)[0].double(), None, 5)
    assert torch.equal(plain, generator.generate_synthetic_mri(volume(1)[0], index=5))


def test_fractions_and_oblong_pixels_are_refused(generator):
    with pytest.raises(ValueError, match="fractions"):
        picture_of(generator, volume() + 0.5, RIP, 0)
    with pytest.raises(ValueError, match="resample them to squares"):
        picture_of(generator, volume(), RIP @ np.diag([1, 2, 1, 1]), 0)

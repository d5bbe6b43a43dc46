"""The anatomy of the phantom's patients, before it is painted."""

import numpy as np
import pytest

from synthspine.gen.phantom.patient import phantom_patient

SEED = 42


@pytest.fixture(scope="module")
def anatomies():
    return [phantom_patient(SEED, patient) for patient in range(40)]


def test_the_spine_is_lordotic_and_the_sacrum_turns_back(anatomies):
    def lean(vertebra):
        return np.rad2deg(np.arctan2(-vertebra.axes[1][2], -vertebra.axes[1][1]))

    for anatomy in anatomies:
        assert lean(anatomy.sacrum[0]) > lean(anatomy.vertebrae[0]) > lean(anatomy.vertebrae[3])
        assert lean(anatomy.sacrum[1]) > lean(anatomy.sacrum[3])
    lordosis = [lean(anatomy.sacrum[0]) - lean(anatomy.vertebrae[4]) for anatomy in anatomies]
    assert 35 < np.mean(lordosis) < 60


def test_bodies_are_taller_than_discs_in_every_patient(anatomies):
    for anatomy in anatomies:
        for lower, upper in zip(anatomy.vertebrae, anatomy.vertebrae[1:6], strict=False):
            gap = np.linalg.norm(upper.centre - lower.centre) - (upper.height + lower.height) / 2
            assert 1.5 < gap < 0.6 * lower.height


def test_patients_show_six_to_nine_vertebrae_and_wear_grows_with_age(anatomies):
    assert {anatomy.visible for anatomy in anatomies} == {6, 7, 8, 9}
    age = [anatomy.age for anatomy in anatomies]
    hydration = [np.mean([disc.hydration for disc in anatomy.discs[:5]]) for anatomy in anatomies]
    assert np.corrcoef(age, hydration)[0, 1] < -0.5

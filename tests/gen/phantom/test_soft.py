import numpy as np

from synthspine.gen.phantom.soft import draw_field

LOW, HIGH = np.array([-50.0, -100.0, -100.0]), np.array([50.0, 100.0, 100.0])


def field(seed=0, spacing=(10.0, 8.0, 8.0)):
    return draw_field(np.random.default_rng(seed), LOW, HIGH, spacing)


def test_a_field_has_mean_0_and_deviation_1():
    plane = field(spacing=(4.0, 4.0, 4.0)).planes(np.arange(-95.0, 95), np.arange(-95.0, 95))
    values = np.stack([plane(x) for x in range(-40, 41, 10)])
    assert abs(values.mean()) < 0.05
    assert abs(values.std() - 1) < 0.05


def test_the_value_at_a_place_does_not_depend_on_the_grid():
    fine = field().planes(np.arange(-60.0, 60, 0.5), np.arange(-30.0, 30, 0.5))(3.0)
    coarse = field().planes(np.arange(-60.0, 60, 2.0), np.arange(-30.0, 30, 1.0))(3.0)
    np.testing.assert_allclose(fine[::4, ::2], coarse, atol=1e-5)


def test_a_field_is_smooth_over_its_correlation_length():
    plane = field().planes(np.arange(-60.0, 60, 0.5), np.zeros(1))
    steps = np.abs(np.diff(plane(0.0)[:, 0]))
    assert steps.max() < 0.35


def test_neighbouring_planes_are_alike_and_distant_ones_are_not():
    plane = field().planes(np.arange(-90.0, 90, 2), np.arange(-90.0, 90, 2))
    here = plane(0.0).ravel()
    assert np.corrcoef(here, plane(1.0).ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(here, plane(45.0).ravel())[0, 1]) < 0.3

import numpy as np
import pytest

from synthspine.eval.labelling.canal_axis import canal_axis, vertical_axis


def tilted_canal(shape, slope, column, half_width=6):
    rows, columns = np.indices(shape)
    return (np.abs(columns - column - slope * rows) < half_width)[None]


def test_straight_canal_measures_from_the_bottom_upward():
    axis = canal_axis(tilted_canal((150, 80), 0.0, 40), (1.0, 1.0))
    along, behind = axis.coordinates((150, 80), (1.0, 1.0))
    assert along[20, 40] - along[120, 40] == pytest.approx(100, abs=0.1)
    assert behind[60, 40] == pytest.approx(0, abs=0.1)
    assert behind[60, 50] == pytest.approx(10, abs=0.1)
    assert behind[60, 25] == pytest.approx(-15, abs=0.1)


def test_tilted_canal_measures_along_itself():
    slope = 0.5
    axis = canal_axis(tilted_canal((160, 160), slope, 30), (1.0, 1.0))
    along, behind = axis.coordinates((160, 160), (1.0, 1.0))
    length = np.hypot(1, slope) * 60
    assert along[50, 55] - along[110, 85] == pytest.approx(length, abs=1.0)
    assert abs(behind[80, 70]) < 1.0


def test_anisotropic_pixels_are_measured_in_mm():
    axis = canal_axis(tilted_canal((200, 60), 0.0, 30), (0.5, 2.0))
    along, behind = axis.coordinates((200, 60), (0.5, 2.0))
    assert along[20, 30] - along[120, 30] == pytest.approx(50, abs=0.1)
    assert behind[100, 35] == pytest.approx(10, abs=0.2)


@pytest.mark.parametrize("slope", [0.0, 0.35, 0.9])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 2.0), (1.7, 0.6)])
def test_nearest_point_is_that_of_all_points(slope, spacing):
    shape = (150, 170)
    axis = canal_axis(tilted_canal(shape, slope, 20), spacing)
    rows, columns = (np.arange(size) * step for size, step in zip(shape, spacing, strict=True))
    squares = (rows[:, None] - axis.points_mm[:, 0]) ** 2, (columns[:, None] - axis.points_mm[:, 1]) ** 2
    nearest = np.stack([(row + squares[1]).argmin(axis=-1) for row in squares[0]])
    offset = np.stack(np.broadcast_arrays(rows[:, None], columns), axis=-1) - axis.points_mm[nearest]
    along = axis.along_mm[nearest] + (offset * axis.directions[nearest]).sum(axis=-1)
    assert np.array_equal(axis.coordinates(shape, spacing)[0], along.astype(np.float32))


def test_pixels_that_are_not_asked_for_are_not_answered():
    axis = canal_axis(tilted_canal((150, 80), 0.3, 20), (1.0, 1.0))
    where = np.random.default_rng(0).random((150, 80)) < 0.1
    some = axis.coordinates((150, 80), (1.0, 1.0), where)
    assert np.array_equal(some[:, where], axis.coordinates((150, 80), (1.0, 1.0))[:, where])
    assert np.isnan(some[:, ~where]).all()


def test_line_goes_on_beyond_the_canal():
    canal = tilted_canal((300, 60), 0.0, 30)
    canal[:, :100] = False
    canal[:, 200:] = False
    axis = canal_axis(canal, (1.0, 1.0))
    along, _ = axis.coordinates((300, 60), (1.0, 1.0))
    assert along[20, 30] - along[280, 30] == pytest.approx(260, abs=0.5)


def test_gap_in_the_canal_is_bridged():
    canal = tilted_canal((200, 60), 0.0, 30)
    canal[:, 80:120] = False
    along, _ = canal_axis(canal, (1.0, 1.0)).coordinates((200, 60), (1.0, 1.0))
    assert along[60, 30] - along[140, 30] == pytest.approx(80, abs=0.5)


@pytest.mark.parametrize("gap_mm", [300, 800, 1900])
def test_long_gap_in_the_canal_is_bridged(gap_mm):
    canal = np.zeros((1, gap_mm + 100, 60), dtype=bool)
    canal[0, [*range(50), *range(gap_mm + 50, gap_mm + 100)], 25:36] = True
    along, behind = canal_axis(canal, (1.0, 1.0)).coordinates(canal.shape[1:], (1.0, 1.0))
    assert along[20, 30] - along[-20, 30] == pytest.approx(gap_mm + 60, abs=0.5)
    assert behind[gap_mm // 2, 40] == pytest.approx(10, abs=0.1)


def test_scan_without_a_canal_has_no_axis():
    assert canal_axis(np.zeros((2, 100, 50), dtype=bool), (1.0, 1.0)) is None


def test_crumb_of_canal_is_no_axis():
    canal = np.zeros((1, 100, 50), dtype=bool)
    canal[0, 50:60, 20:30] = True
    assert canal_axis(canal, (1.0, 1.0)) is None


def test_vertical_axis_stands_at_its_column():
    along, behind = vertical_axis(30.0, 100.0).coordinates((100, 60), (1.0, 1.0))
    assert along[10, 20] - along[90, 20] == pytest.approx(80)
    assert behind[50, 35] == pytest.approx(5)

"""Flow voids in the canal's fluid."""

import numpy as np
import torch
from scipy import stats

from synthspine.gen.core.anatomy import CANAL
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.intensity.flow_void import FlowVoidConfig, add_flow_void, wave_field
from synthspine.gen.tissues.palette import CORD, EPIDURAL_FAT, ROOTS


def _draw(count: int, **fields):
    return FlowVoidConfig(probability=1.0, **fields).draw(SampleRandom(sample_keys(1, torch.arange(count))))


def test_only_fluid_darkens_by_the_drawn_depth_at_most():
    codes = torch.tensor([CANAL, CORD, ROOTS, EPIDURAL_FAT, 0, 1, 31], dtype=torch.uint8)
    painted = codes.repeat_interleave(20).expand(8, 120, -1)
    params = _draw(8, depth=(0.6, 0.6))
    image = add_flow_void(torch.ones(8, 120, 140), painted, params, (1.0, 1.0))
    assert torch.equal(image[..., 20:], torch.ones(8, 120, 120))
    fluid = image[..., :20]
    assert 0.4 - 1e-6 <= fluid.min() < 0.5
    assert 0.1 < (fluid < 1).float().mean() < 0.6


def test_the_field_is_nearly_normal_with_the_drawn_autocorrelation():
    count = 600
    params = _draw(count, length_mm=(10.0, 10.0), width_mm=(4.0, 4.0))
    field = wave_field(params.waves, params.phase, (61, 31), (1.0, 0.5)).numpy()
    assert stats.kstest(field[:, 7, 3], "norm").pvalue > 1e-3
    for row, column, distance in ((40, 15, 10 / 10), (30, 15, 0.0), (30, 23, 4 / 4)):
        measured = np.corrcoef(field[:, 30, 15], field[:, row, column])[0, 1]
        # 4 standard deviations of a correlation of 600 pairs.
        assert abs(measured - np.exp(-(distance**2) / 2)) < 4 / np.sqrt(count)


def test_the_field_is_the_sum_of_its_waves_in_a_volume():
    params = _draw(2)
    field = wave_field(params.waves, params.phase, (3, 8, 9), (4.0, 1.0, 0.5))
    slices, rows, columns = (np.arange(n) - (n - 1) / 2 for n in (3, 8, 9))
    for sample in range(2):
        expected = 0.0
        for (across, down, ahead), phase in zip(
            params.waves[sample].numpy(), params.phase[sample].numpy(), strict=True
        ):
            turn = across * 4 * slices[:, None, None] + down * rows[:, None] + ahead * 0.5 * columns
            expected = expected + np.sqrt(2 / 12) * np.cos(turn + phase)
        assert np.abs(field[sample].numpy() - expected).max() < 1e-5

"""Artefacts of k-space against explicit Fourier transforms and against formulas."""

import numpy as np
import pytest
import torch
from scipy import signal

from synthspine.gen.scanner.kspace import GibbsParams, SpikeParams, distort_kspace
from synthspine.gen.scanner.lines import lines_of
from synthspine.gen.scanner.motion import GhostingParams, KSpaceMotionParams, MotionBlurParams

SPACING = (1.5, 0.7)


def _picture(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).random(shape, dtype=np.float32)) + 0.5


def _numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _motion(along_rows, jump_time=(0.2, 0.5), positions_mm=((0, 0), (0, 0), (0, 0)), swing=(0.0, 0.0, 0.0)):
    return KSpaceMotionParams(
        along_rows=_numbers(float(along_rows)),
        jump_time=torch.tensor([jump_time]),
        displacement_mm=torch.tensor([positions_mm], dtype=torch.float32),
        swing_mm=_numbers(swing[0]),
        swing_cycles=_numbers(swing[1]),
        swing_phase=_numbers(swing[2]),
    )


def _distort(image, *, motion=None, ghosting=None, gibbs=None, spike=None, blur=None, spacing_mm=SPACING):
    return distort_kspace(image, [gibbs, ghosting, motion, blur, spike], spacing_mm)


@pytest.mark.parametrize("along_rows", [True, False])
def test_a_constant_displacement_shifts_the_image(along_rows):
    image = _picture(1, 32, 27)
    elsewhere = _motion(along_rows, positions_mm=[(3 * SPACING[0], -5 * SPACING[1])] * 3)
    moved = _distort(image, motion=elsewhere)
    assert np.abs(moved.numpy() - np.roll(image.numpy(), (3, -5), axis=(1, 2))).max() < 1e-5


@pytest.mark.parametrize("along_rows", [True, False])
@pytest.mark.parametrize("swing", [(0.0, 0.0, 0.0), (0.8, 6.5, 1.0)])
def test_every_line_is_read_at_the_position_of_its_time(along_rows, swing):
    """The acquisition itself: for every line the object is displaced, transformed, and that line kept."""
    height, width = 41, 33
    image, positions = _picture(1, height, width), np.array([(0.0, 0.0), (1.2, -0.6), (-0.5, 1.1)])
    motion = _motion(along_rows, (0.25, 0.6), positions.tolist(), swing)
    count = height if along_rows else width
    spectrum = np.fft.fft2(image[0].double().numpy())
    row_frequency = np.fft.fftfreq(height, SPACING[0])[:, None]
    column_frequency = np.fft.fftfreq(width, SPACING[1])[None]
    read = np.zeros_like(spectrum)
    for line in np.fft.fftfreq(count, 1 / count).round().astype(int):
        time = abs(line) / (count / 2)
        row_mm, column_mm = positions[(time >= 0.25).astype(int) + (time >= 0.6).astype(int)]
        amplitude, cycles, start = swing
        swung = amplitude * (np.sin(2 * np.pi * cycles * time + start) - np.sin(start))
        row_mm, column_mm = (row_mm + swung, column_mm) if along_rows else (row_mm, column_mm + swung)
        displaced = spectrum * np.exp(-2j * np.pi * (row_frequency * row_mm + column_frequency * column_mm))
        lines = np.index_exp[line, :] if along_rows else np.index_exp[:, line]
        read[lines] = displaced[lines]
    expected = np.fft.ifft2(read)
    assert np.abs(expected.imag).max() < 1e-12
    assert np.abs(_distort(image, motion=motion)[0].numpy() - np.abs(expected.real)).max() < 1e-5


def test_motion_keeps_the_mean_and_changes_the_picture():
    image = _picture(1, 64, 64)
    moved = _distort(
        image, motion=_motion(True, positions_mm=[(0, 0), (2, 0), (2, 1)], swing=(1.0, 8.0, 0.0))
    )
    assert abs(moved.mean() - image.mean()) < 2e-3
    assert (moved - image).abs().max() > 0.05


@pytest.mark.parametrize("every", [2, 3, 4])
@pytest.mark.parametrize("along_rows", [True, False])
@pytest.mark.parametrize("strength", [0.12, -0.12])
def test_ghosts_lie_an_nth_of_the_image_apart_with_the_drawn_amplitude(every, along_rows, strength):
    image = torch.zeros(1, 48, 36)
    image[0, 5:9, 7:10] = 1.0
    ghosts = GhostingParams(
        along_rows=_numbers(float(along_rows)), strength=_numbers(strength), every=_numbers(every)
    )
    axis, count = (1, 48) if along_rows else (2, 36)
    expected = image.numpy() + strength * sum(
        np.roll(image.numpy(), copy * count // every, axis=axis) for copy in range(1, every)
    )
    assert np.abs(_distort(image, ghosting=ghosts).numpy() - np.abs(expected)).max() < 1e-6


@pytest.mark.parametrize("shape", [(40, 52), (41, 35)])
def test_ringing_equals_a_truncated_transform(shape):
    image, kept = _picture(1, *shape), (0.45, 0.8)
    cut = np.fft.fft2(image[0].double().numpy())
    for axis, (count, share) in enumerate(zip(shape, kept, strict=True)):
        lost = np.abs(np.fft.fftfreq(count, 1 / count).round()) > share * count / 2
        cut[(lost, slice(None)) if axis == 0 else (slice(None), lost)] = 0
    rung = _distort(image, gibbs=GibbsParams(kept=torch.tensor([kept])))
    assert np.abs(rung[0].numpy() - np.abs(np.fft.ifft2(cut).real)).max() < 1e-6


def test_ringing_overshoots_a_step_by_nine_percent():
    image = torch.full((1, 2, 2048), 0.5)
    image[..., 512:1536] = 1.5
    rung = _distort(image, gibbs=GibbsParams(kept=torch.tensor([[1.0, 0.05]])))
    assert abs(rung.max().item() - 1.5 - 0.0895) < 0.002
    assert abs(0.5 - rung.min().item() - 0.0895) < 0.002


def test_all_lines_kept_is_no_ringing():
    image = _picture(2, 12, 9)
    assert torch.equal(_distort(image, gibbs=GibbsParams(kept=torch.ones(2, 2))), image)


def _spike(frequency, strength=0.1, slice_place=0.0):
    return SpikeParams(
        strength=_numbers(strength),
        frequency=torch.tensor([frequency]),
        phase=_numbers(0.4),
        slice_place=_numbers(slice_place),
    )


def test_a_spike_is_one_plane_wave_added_to_the_complex_picture():
    image = _picture(1, 30, 44)
    rows = (np.arange(30) - 14.5) * SPACING[0]
    columns = (np.arange(44) - 21.5) * SPACING[1]
    turn = 2 * np.pi * (0.05 * rows[:, None] - 0.11 * columns) + 0.4
    expected = np.abs(image[0].numpy() + 0.1 * image.max().item() * np.exp(1j * turn))
    assert np.abs(_distort(image, spike=_spike((0.05, -0.11)))[0].numpy() - expected).max() < 1e-5


def test_the_stripes_of_a_spike_have_its_frequency():
    image = torch.ones(1, 64, 64)
    striped = _distort(image, spike=_spike((5 / 64, -9 / 64), strength=0.02), spacing_mm=(1.0, 1.0))
    spectrum = np.abs(np.fft.fft2(striped[0].numpy() - striped.mean().item()))
    assert np.unravel_index(spectrum.argmax(), spectrum.shape) in [(5, 55), (59, 9)]
    assert spectrum.max() / 64**2 == pytest.approx(0.01, rel=0.02)


def test_a_spike_hits_one_slice_of_a_volume():
    image = _picture(1, 4, 16, 16)
    spiked = _distort(image, spike=_spike((0.1, 0.1), slice_place=0.6), spacing_mm=(3.0, *SPACING))
    changed = (spiked - image).abs().amax(dim=(0, 2, 3)) > 1e-3
    assert changed.tolist() == [False, False, True, False]


@pytest.mark.parametrize("direction", [0.0, 90.0])
def test_blur_is_the_mean_of_the_picture_over_a_line(direction):
    """Mean of a smooth profile over 5 pixels, sampled 40 times as finely."""
    fine, length, count = 40, 5, 64
    at = np.arange(count * fine) / fine
    profile = 8 + sum(np.cos(2 * np.pi * cycles * at / count + cycles) for cycles in range(1, 12))
    line = np.ones(length * fine + 1)
    line[[0, -1]] = 0.5
    expected = np.convolve(np.tile(profile, 3), line / line.sum(), "same")[
        count * fine : 2 * count * fine : fine
    ]
    picture = torch.from_numpy(profile[::fine].astype(np.float32))
    picture = picture.view(1, count, 1).expand(1, count, 8) if direction == 0 else picture.expand(1, 8, count)
    blur = MotionBlurParams(length_mm=_numbers(length), direction_deg=_numbers(direction))
    result = _distort(picture, blur=blur, spacing_mm=(1.0, 1.0))[0]
    result = result[:, 0] if direction == 0 else result[0]
    assert np.abs(result.numpy() - expected).max() < 1e-3


def test_blur_weights_are_the_sinc_of_the_frequency_along_the_line():
    blur = MotionBlurParams(length_mm=_numbers(4.2), direction_deg=_numbers(33.0))
    weights = blur.transfer(lines_of((50, 61), SPACING, torch.device("cpu")))[0].numpy()
    rows, columns = np.fft.fftfreq(50, SPACING[0])[:, None], np.fft.rfftfreq(61, SPACING[1])
    expected = np.sinc(4.2 * (rows * np.cos(np.radians(33)) + columns * np.sin(np.radians(33))))
    assert np.abs(weights - expected).max() < 3e-5


def test_blur_of_a_point_spreads_along_its_direction():
    image = torch.zeros(1, 65, 65)
    image[0, 32, 32] = 1.0
    blurred = _distort(
        image,
        blur=MotionBlurParams(length_mm=_numbers(12.0), direction_deg=_numbers(45.0)),
        spacing_mm=(1.0, 1.0),
    )[0].numpy()
    blurred = signal.convolve2d(blurred, np.ones((3, 3)) / 9, mode="same")
    assert blurred[35, 35] > 5 * blurred[35, 29]
    assert blurred[39, 39] < 0.3 * blurred[35, 35]


def test_features_together_are_one_product_of_weights():
    image = _picture(1, 45, 38)
    ghosts = GhostingParams(along_rows=_numbers(1.0), strength=_numbers(0.1), every=_numbers(3))
    blur = MotionBlurParams(length_mm=_numbers(3.0), direction_deg=_numbers(70.0))
    cut = GibbsParams(kept=torch.tensor([[0.6, 0.9]]))
    one_by_one = _distort(_distort(_distort(image, ghosting=ghosts), blur=blur), gibbs=cut)
    assert (_distort(image, ghosting=ghosts, gibbs=cut, blur=blur) - one_by_one).abs().max() < 1e-5


def test_slices_of_a_volume_are_distorted_like_pictures():
    image, motion = _picture(1, 3, 24, 21), _motion(False, positions_mm=[(0, 0), (1, 2), (2, -1)])
    volume = _distort(image, motion=motion, spacing_mm=(3.0, *SPACING))
    for number in range(3):
        assert torch.allclose(volume[:, number], _distort(image[:, number], motion=motion), atol=1e-6)


def test_gradients_stay_finite_where_there_is_no_signal():
    image = torch.zeros(1, 16, 16, requires_grad=True)
    ghosts = GhostingParams(along_rows=_numbers(1.0), strength=_numbers(0.1), every=_numbers(3))
    _distort(image * 1, ghosting=ghosts, spike=_spike((0.1, 0.1), strength=0.0)).sum().backward()
    assert torch.isfinite(image.grad).all()

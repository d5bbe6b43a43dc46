"""Images of a label map file: on its grid, the same for a seed, and never in place of another file."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from synthspine.gen import SpineSynthGenerator, preset
from synthspine.shards.building.label_map_images import WHITE, SynthOptions, synthesise
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.spider import read_image, read_values, write_mha

SPACING_MM = (4.0, 2.0, 2.0)


@pytest.fixture
def label_map(tmp_path, spine_mask):
    path = tmp_path / "1_t2.mha"
    write_mha(spine_mask(), SPACING_MM, "PIR", path)
    return path


def rendered(path, tmp_path, **options):
    options = {"output_dir": tmp_path / "out", "device": "cpu"} | options
    return list(synthesise(SynthOptions(label_map=path, **options)))


@pytest.mark.parametrize("suffix", [None, ".nii.gz"])
def test_the_images_lie_on_the_grid_of_the_label_map(label_map, tmp_path, suffix):
    paths = rendered(label_map, tmp_path, samples=2, suffix=suffix)
    assert [path.name for path in paths] == [f"1_t2_synth_00{k}{suffix or '.mha'}" for k in range(2)]
    first, second, labels = (sitk.ReadImage(str(path)) for path in (*paths, label_map))
    for entry in ("GetSize", "GetSpacing", "GetDirection", "GetOrigin"):
        assert getattr(first, entry)() == pytest.approx(getattr(labels, entry)(), abs=1e-6)
    one, other = sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second)
    assert one.dtype == np.int16 and one.min() >= 0 and WHITE / 2 < one.max() <= WHITE
    assert (one != other).mean() > 0.5


def test_an_image_is_that_of_the_generator_for_its_seed_and_number(label_map, tmp_path):
    paths = rendered(label_map, tmp_path, samples=2, preset="t2", seed=5)
    labels = read_values(label_map).array.astype(np.int16)
    generator = SpineSynthGenerator(labels="spider", config=preset("t2", spacing_mm=2.0), seed=5)
    expected = generator.generate_synthetic_mri(labels, index=1)
    found = read_image(paths[1]).array
    np.testing.assert_allclose(found, expected * WHITE, atol=1)


def test_unequal_pixels_and_other_label_values_are_rendered(tmp_path):
    labels = np.zeros((1, 64, 96), dtype=np.uint8)
    labels[0, 10:30, 10:48], labels[0, 10:50, 60:70] = 1, 3
    write_mha(labels, (4.0, 2.0, 1.0), "LPS", tmp_path / "a.mha")
    config = tmp_path / "own.yaml"
    config.write_text("noise: {probability: 0}\n")
    (path,) = rendered(tmp_path / "a.mha", tmp_path, labels="structures", preset=str(config))
    assert read_image(path).array.shape == (1, 64, 96)


def test_a_file_that_is_there_is_replaced_only_on_request(label_map, tmp_path):
    (path,) = rendered(label_map, tmp_path)
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"1_t2_synth_000\.mha exists; .*--overwrite"):
        rendered(label_map, tmp_path, samples=2)
    assert path.read_text() == "mine" and not Path(tmp_path / "out" / "1_t2_synth_001.mha").exists()
    rendered(label_map, tmp_path, overwrite=True)
    assert path.stat().st_size > 1000


def test_what_cannot_be_rendered_is_refused_in_one_line(label_map, tmp_path):
    with pytest.raises(SpiderError, match=r"1_t2\.mha: label \d+ is not a value of the scheme 'ranks'"):
        rendered(label_map, tmp_path, labels="ranks")
    with pytest.raises(ValueError, match="no preset is called 'flair'"):
        rendered(label_map, tmp_path, preset="flair")
    with pytest.raises(SpiderError, match="no such file"):
        rendered(tmp_path / "none.mha", tmp_path)
    with pytest.raises(ValueError, match="samples 0 must be at least 1"):
        SynthOptions(label_map=label_map, samples=0)

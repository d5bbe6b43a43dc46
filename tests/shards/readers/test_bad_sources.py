"""Files that are bad: named and refused, or left out where that is allowed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synthspine.shards.building import build, synthetic_samples
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.format.manifest import has_manifest
from synthspine.shards.format.sample import ShardError
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.slices import Grid
from synthspine.shards.readers.spider import write_mha
from synthspine.shards.reading.open import open_set


@pytest.fixture
def spoil(spider_folder):
    """A folder in which one file of every patient but the first is bad in its own way."""

    def make() -> Path:
        folder = spider_folder(6)
        masks, images = folder / "masks" / "masks", folder / "images" / "images"
        write_mha(np.eye(50, dtype=np.int16)[None], (4.0, 2.0, 1.5), "LPS", images / "2_t1.mha")
        (masks / "3_t1.mha").write_bytes((masks / "3_t1.mha").read_bytes()[:-20])
        write_mha(np.full((5, 60, 48), 300, np.int16), (4.0, 2.0, 1.5), "LPS", masks / "4_t1.mha")
        write_mha(np.zeros((5, 60, 48), np.int16), (4.0, 2.0, 1.5), "LPS", masks / "5_t1.mha")
        (images / "6_t1.mha").write_text("no image")
        return folder

    return make


@pytest.mark.parametrize(
    ("patient", "name", "message"),
    [
        (2, "real_t1_train", r"2_t1\.mha: shape 5 x 60 x 48 differs from its image's 1 x 50 x 50"),
        (3, "labels", r"3_t1\.mha: is truncated"),
        (4, "labels", r"4_t1\.mha: label 300 is not a SPIDER value"),
        (5, "labels", r"5_t1\.mha: nothing is labelled"),
        (6, "real_t1_train", r"6_t1\.mha: cannot be read as an image"),
    ],
)
def test_bad_input_stops_with_the_name_of_the_file(spoil, options, tmp_path, patient, name, message):
    path = tmp_path / "split.json"
    others = [str(other) for other in range(1, 7) if other != patient]
    path.write_text(f'{{"train": ["{patient}"], "validation": {others}}}'.replace("'", '"'))
    with pytest.raises(SpiderError, match=message):
        ensure_sets([name], options(spoil(), split=path))


def test_bad_input_can_be_left_out_and_is_listed(spoil, options, tmp_path, capsys):
    path = tmp_path / "split.json"
    path.write_text('{"train": ["1", "2", "3", "4", "5", "6"]}')
    chosen = options(spoil(), split=path, skip_bad=True)
    paths = ensure_sets(["labels", "real_t1_train"], chosen)
    assert {sample.record["patient"] for sample in open_set(paths["real_t1_train"]).samples()} == {"1"}
    left_out = open_set(paths["real_t1_train"]).manifest.left_out
    assert [entry["source"] for entry in left_out] == [f"{n}_t1" for n in range(2, 7)]
    assert "left out: 4_t1 (4_t1.mha: label 300" in capsys.readouterr().out


def test_a_continued_run_does_not_leave_out_series_without_the_option(spoil, options, monkeypatch):
    chosen = options(spoil(), skip_bad=True)

    def killed(place, name, samples):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            ensure_sets(["labels"], chosen)
    with pytest.raises(SpiderError):
        ensure_sets(["labels"], replace(chosen, skip_bad=False))


def spoilt(kind: str, array: np.ndarray) -> np.ndarray:
    """The same image with one bad voxel (or a few) in the middle."""
    values = array.astype(np.float64 if kind == "too large" else np.float32)
    middle = tuple(size // 2 for size in array.shape)
    if kind == "far apart":
        values *= np.float32(3e38 / values.max())
        values[:, ::2] *= -1
    else:
        bad = {"NaN": np.nan, "infinite": np.inf, "negative infinite": -np.inf, "too large": 1e300}
        values[middle] = bad[kind]
    return values


@pytest.mark.parametrize("kind", ["NaN", "infinite", "negative infinite", "too large", "far apart"])
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_images_that_are_not_finite_are_named_or_left_out(spider_folder, options, tmp_path, kind):
    path = tmp_path / "split.json"
    path.write_text('{"train": ["1", "2"]}')
    data = spider_folder(2)
    image = data / "images" / "images" / "2_t1.mha"
    array = np.random.default_rng(0).integers(1, 50, (5, 60, 48))
    write_mha(spoilt(kind, array), (4.0, 2.0, 1.5), "LPS", image)
    chosen = options(data, split=path)
    with pytest.raises(
        SpiderError, match=r"2_t1\.mha: (holds values that are not finite|its values are too far)"
    ):
        ensure_sets(["real_t1_train"], chosen)
    place = ensure_sets(["real_t1_train"], replace(chosen, skip_bad=True))["real_t1_train"]
    shards = open_set(place)
    assert [entry["source"] for entry in shards.manifest.left_out] == ["2_t1"]
    assert {record["patient"] for record in shards.read().records} == {"1"}


def test_a_whole_image_at_another_spacing_is_not_refused(tmp_path, spider_folder, options):
    """Interpolation between equal values rounds to slightly more than 1, which float16 does not tell."""
    data = spider_folder(1)
    path = tmp_path / "split.json"
    path.write_text('{"train": ["1"]}')
    array = np.full((5, 60, 48), 100, np.int16)
    array[:, :8] = 0
    write_mha(array, (4.0, 2.0, 1.5), "LPS", data / "images" / "images" / "1_t1.mha")
    for spacing_mm in (2.3, 2.5, 2.7, 2.9):
        chosen = options(data, split=path, grid=Grid(spacing_mm=spacing_mm, shape=(64, 48)), rebuild=True)
        images = open_set(ensure_sets(["real_t1_train"], chosen)["real_t1_train"]).read().images
        assert images.max() == 1 and images.min() == 0


def test_a_rendered_image_that_is_not_finite_is_named(spider_folder, options, monkeypatch):
    real = synthetic_samples.render

    def broken(bank, params, **options):
        image, codes = real(bank, params, **options)
        image[-1, 0, 3, 3] = float("nan")
        return image, codes

    monkeypatch.setattr(synthetic_samples, "render", broken)
    chosen = options(spider_folder(3), synthetic_samples=3)
    with pytest.raises(ShardError, match=r"synthetic sample 00000002: rendered values are not in \[0, 1\]"):
        ensure_sets(["synthetic"], chosen)
    assert not has_manifest(chosen.place / "synthetic")

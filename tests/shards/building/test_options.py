"""What can be chosen about the sets."""

import os
import pickle

import pytest

from synthspine.gen import preset
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.readers.slices import Grid


def test_a_preset_is_set_to_the_grid():
    options = ShardOptions(preset="t2", grid=Grid(spacing_mm=2.0))
    assert options.generator() == preset("t2", spacing_mm=2.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [("own.yaml", "noise:\n  level: [0.0, 0.2]\n"), ("own.json", '{"noise": {"level": [0.0, 0.2]}}')],
)
def test_a_preset_file_holds_changes_to_spine(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    config = ShardOptions(preset=str(tmp_path / name)).generator()
    assert config.noise.level == (0.0, 0.2) and config.contrast == preset("spine").contrast


def test_a_share_of_side_slices_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"side_share 1\.1 must be 0 to 1"):
        ShardOptions(side_share=1.1)


def test_a_malformed_preset_file_is_named(tmp_path):
    (tmp_path / "own.yaml").write_text("nose: {level: [0, 0.1]}\n")
    with pytest.raises(ValueError, match=r"own\.yaml.*'noise'"):
        ShardOptions(preset=str(tmp_path / "own.yaml"))
    with pytest.raises(FileNotFoundError, match="none"):
        ShardOptions(preset=str(tmp_path / "none.yaml"))
    with pytest.raises(ValueError, match="flair"):
        ShardOptions(preset="flair")


def test_a_file_that_changes_during_a_run_does_not_change_the_run(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("noise: {level: [0, 0.1]}\n")
    options = ShardOptions(preset=str(file))
    file.write_text("noise: {level: [0, 0.3]}\n")
    assert options.generator().noise.level == (0, 0.1)
    assert pickle.loads(pickle.dumps(options)).generator().noise.level == (0, 0.1)


def test_a_preset_that_is_no_file_or_has_no_bounds_is_named(tmp_path):
    path = tmp_path / "own.yaml"
    os.mkfifo(path)
    with pytest.raises(OSError, match=r"own\.yaml: is not a regular file"):
        ShardOptions(preset=str(path))
    path.unlink()
    for text in ("[" * 5000, "{a: " * 5000, "\xff" * 300_000):
        path.write_text(text)
        with pytest.raises((ValueError, OSError), match=r"own\.yaml: "):
            ShardOptions(preset=str(path))
    path.write_bytes("noise: {}".encode("utf-16"))
    with pytest.raises(ValueError, match=r"own\.yaml: "):
        ShardOptions(preset=str(path))

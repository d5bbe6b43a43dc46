"""Facts of a manifest that somebody changed, with a digest that fits: verify works them out again."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from handmade import edit_manifest, sample_of, series_record, write

from synthspine.shards.building.names import SETS
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.checking.verify import verify_set
from synthspine.shards.format.manifest import MANIFEST
from synthspine.shards.format.sample import Sample, encode, stored_digests


@pytest.fixture
def folder(spider_folder, options):
    """The folder of all sets of six patients; they have no problem."""
    places = ensure_sets(SETS, options(spider_folder()))
    assert [verify_set(place) for place in places.values()] == [[]] * len(places)
    return places["labels"].path.parent


def identity_of(folder, **changes):
    return json.loads((folder / MANIFEST).read_text())["identity"] | changes


def generator_of(folder, **changes):
    return json.dumps(json.loads(identity_of(folder)["generator"]) | changes, sort_keys=True)


@pytest.mark.parametrize(
    ("name", "change", "reported"),
    [
        ("labels", lambda of: {"phantom": True}, "is not one of the phantom"),
        ("labels", lambda of: {"name": "labels_val"}, "name is labels_val, and its identity that of labels"),
        ("real_t1_val", lambda of: {"name": "x", "identity": identity_of(of, set="x")}, None),
        (
            "real_t1_val",
            lambda of: {"name": "real_t2_val", "identity": identity_of(of, set="real_t2_val")},
            "contrast is t1, in a set of t2",
        ),
        ("labels", lambda of: {"left_out": [{"source": "9_t1", "reason": "x"}]}, "left_out names 9_t1"),
        (
            "labels",
            lambda of: {"left_out": [{"source": identity_of(of)["sources"][0]["source"], "reason": "x"}]},
            "is said to be left out",
        ),
        ("labels", lambda of: {"identity": identity_of(of, slice_step_mm=9.0)}, "at least 9.0 are said"),
        (
            "labels",
            lambda of: {"identity": identity_of(of, sources=identity_of(of)["sources"][1:])},
            "is not a source of the set",
        ),
        (
            "labels",
            lambda of: {"identity": identity_of(of, grid={"spacing_mm": 2.0, "shape": [64, 64]})},
            "instead of (64, 64)",
        ),
        (
            "synthetic",
            lambda of: {"identity": identity_of(of, grid={"spacing_mm": 1.0, "shape": [64, 48]})},
            "spacing is [2.0, 2.0] mm, the grid's 1.0",
        ),
        (
            "synthetic",
            lambda of: {"identity": identity_of(of, generator_hash="0" * 64)},
            "generator_hash is not",
        ),
        (
            "synthetic",
            lambda of: {"identity": identity_of(of, generator=generator_of(of, spacing_mm=1.0))},
            "generator_hash is not that of the generator",
        ),
        (
            "synthetic",
            lambda of: {"identity": identity_of(of, generator="x")},
            "generator is not a configuration",
        ),
        ("synthetic", lambda of: {"identity": identity_of(of, seed=1)}, "seed is 42, the set's 1"),
        (
            "synthetic",
            lambda of: {"identity": identity_of(of, label_bank="0" * 64)},
            "label_bank is not the label_",
        ),
        ("synthetic", lambda of: {"phantom": True}, "phantom is true, and false in"),
        ("synthetic", lambda of: {"label_digest": "0" * 64}, "label_digest is not that of the labels"),
        (
            "real_t1_val",
            lambda of: {"identity": identity_of(of, images=False)},
            "there, unlike in the others",
        ),
    ],
)
def test_a_changed_fact_is_found(folder, name, change, reported):
    edit_manifest(folder / name, **change(folder / name))
    lines = verify_set(folder / name)
    if reported is None:
        assert lines == []
    else:
        assert any(reported in line for line in lines), lines
        assert all(str(folder / name) in line and "\n" not in line for line in lines)


def test_a_rendered_set_alone_has_no_label_maps_to_compare_with(folder):
    shutil.rmtree(folder / "labels")
    assert verify_set(folder / "synthetic") == []


def test_records_hold_the_digests_of_their_files():
    for sample in (
        sample_of(0),
        sample_of(1, images=False),
        Sample("0", None, np.zeros((16, 16), np.uint8), {}),
    ):
        files = encode(sample)
        stored = stored_digests({name: memoryview(content) for name, content in files.items()})
        assert stored == json.loads(files["json"])["sha256"] and len(stored) == len(files)


@pytest.mark.parametrize("name", ["image.npy", "label.npy", "json"])
def test_a_digest_of_a_record_that_is_not_that_of_the_file_is_found(tmp_path, name):
    def digest_of_another(content):
        files = encode(sample_of(0))
        digest = json.loads(files["json"])["sha256"][name].encode()
        return content.replace(digest, digest[::-1])

    folder = write(tmp_path / "real_t1_val", [sample_of(0)])
    path = folder / "shard-000000.tar"
    content = digest_of_another(path.read_bytes())
    path.write_bytes(content)
    entry = json.loads((folder / MANIFEST).read_text())["shards"][0]
    edit_manifest(folder, shards=[entry | {"sha256": hashlib.sha256(content).hexdigest()}])
    (line,) = verify_set(folder)
    assert line == f"{path}: sample 00000000: {name}: the record holds another SHA-256"


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ({"slice": 20}, "slice is 20 of 20"),
        ({"slice": 0, "source": "0_t1"}, "slice is 0 mm from the one before"),
    ],
)
def test_slices_follow_each_other_in_their_series(tmp_path, change, reported):
    wrong = Sample("00000001", sample_of(1).image, sample_of(1).label, series_record(1) | change)
    (line,) = verify_set(write(tmp_path / "real_t1_val", [sample_of(0), wrong]))
    assert reported in line


def test_shards_are_called_by_their_number(tmp_path):
    folder = write(tmp_path / "real_t1_val", [sample_of(index) for index in range(2)])
    (folder / "shard-000000.tar").rename(folder / "shard-000007.tar")
    entry = json.loads((folder / MANIFEST).read_text())["shards"][0]
    edit_manifest(folder, shards=[entry | {"name": "shard-000007.tar"}])
    (line,) = verify_set(folder)
    assert line.endswith("shard 0 is called shard-000007.tar instead of shard-000000.tar")

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.manifest import MANIFEST, VERSION, Manifest, ShardEntry, label_digest, save_manifest
from shards.places import open_place
from shards.sample import Sample, ShardError, sample_key
from shards.tar import pack
from shards.verify import find_sets, verify_places, verify_set

PER_SHARD = 4
SHAPE = (32, 16)
BANK = "b" * 64
NAMES = [f"shard-{number:06d}.tar" for number in range(3)]


def series_record(index):
    facts = {"contrast": "t1", "slices": 20, "spacing_mm": [4.0, 0.6, 0.6]}
    return {"source": f"{index // 5}_t1", "patient": str(index // 5), "slice": index % 5, **facts}


def rendered_record(index):
    facts = {"index": index, "seed": 7, "params": {"spacing_mm": 1.0, "map_index": index}}
    return {"source": "1_t1", "patient": "1", "slice": index, **facts}


def sample_of(index, images=True, record=series_record):
    random = np.random.default_rng(index)
    image = random.random(SHAPE).astype(np.float16) if images else None
    label = random.choice(np.array([0, 1, 7, 31, 60, 255], np.uint8), SHAPE)
    return Sample(sample_key(index), image, label, record(index))


def write(folder, samples, per_shard=PER_SHARD, **identity):
    """A set of these samples, written by hand: nothing stops it from being wrong."""
    entries, digests = [], []
    for number, start in enumerate(range(0, len(samples), per_shard)):
        packed = pack(samples[start : start + per_shard])
        name = f"shard-{number:06d}.tar"
        open_place(folder).write(name, *packed.parts)
        count = len(packed.label_digests)
        entries.append(ShardEntry(name=name, samples=count, bytes=packed.bytes, sha256=packed.sha256))
        digests += packed.label_digests
    defaults = {"version": VERSION, "set": folder.name, "samples_per_shard": PER_SHARD}
    manifest = Manifest(
        name=folder.name,
        samples=len(samples),
        phantom=False,
        identity=defaults | identity,
        made_with={"torch": "1"},
        label_digest=label_digest(digests),
        left_out=[],
        shards=tuple(entries),
    )
    save_manifest(open_place(folder), manifest)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "real_t1_val", [sample_of(index) for index in range(10)])


def change(path, place, old, new):
    """Replace bytes that are known to be at a place; the length stays or changes with them."""
    content = path.read_bytes()
    assert content[place : place + len(old)] == old
    path.write_bytes(content[:place] + new + content[place + len(old) :])


def member(path, name):
    """Where the header of a file lies."""
    return path.read_bytes().index(name.encode() + b"\0")


def edit_manifest(folder, **changes):
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_whole_set_has_no_problem(folder):
    notes = []
    assert verify_set(folder, note=notes.append) == [] and notes == []


def test_sets_of_label_maps_and_empty_sets_are_fine(tmp_path):
    assert verify_set(write(tmp_path / "labels", [sample_of(i, images=False) for i in range(5)])) == []
    assert verify_set(write(tmp_path / "empty", [])) == []


@pytest.mark.parametrize("file", ["image.npy", "label.npy"])
def test_a_flipped_byte_is_traced_to_its_sample_and_file(folder, file):
    path = folder / NAMES[1]
    place = member(path, f"00000006.{file}") + 512 + 300
    byte = path.read_bytes()[place : place + 1]
    change(path, place, byte, bytes([byte[0] ^ 1]))
    assert verify_set(folder) == [f"{path}: sample 00000006: {file} is not what was written (SHA-256)"]


def test_all_damaged_samples_of_all_shards_are_named(folder):
    for number, key in ((0, "00000001"), (0, "00000003"), (2, "00000009")):
        path = folder / NAMES[number]
        place = member(path, f"{key}.label.npy") + 512 + 200
        byte = path.read_bytes()[place : place + 1]
        change(path, place, byte, bytes([byte[0] ^ 255]))
    lines = verify_set(folder)
    assert [line.split(": ")[1] for line in lines] == [f"sample 0000000{i}" for i in (1, 3, 9)]


def test_a_record_that_is_no_json_any_more_is_named(folder):
    path = folder / NAMES[0]
    change(path, member(path, "00000002.json") + 512, b"{", b"[")
    (line,) = verify_set(folder)
    assert "sample 00000002: json is not what was written" in line


@pytest.mark.parametrize("text", [b"null", b"[1]", b'"x"', b"3", b'{"sha256": [1]}', b'{"sha256": 1}', b"{}"])
def test_a_record_that_is_something_else_is_named(folder, monkeypatch, text):
    path = folder / NAMES[0]
    place = member(path, "00000002.json")
    size = int(path.read_bytes()[place + 124 : place + 135], 8)
    change(path, place + 512, path.read_bytes()[place + 512 : place + 512 + size], text.ljust(size))
    (line,) = verify_set(folder)
    assert "sample 00000002: json is not what was written, so its other files cannot be checked" in line


def test_a_record_with_the_same_values_in_another_form_is_named(folder):
    path = folder / NAMES[0]
    place = member(path, "00000002.json") + 512
    change(path, path.read_bytes().index(b'"slices": 20', place), b'"slices": 20', b'"slices":20 ')
    assert verify_set(folder) == [f"{path}: sample 00000002: json is not what was written (SHA-256)"]


def test_a_record_changed_to_other_json_is_named(folder):
    path = folder / NAMES[0]
    place = path.read_bytes().index(b'"slices": 20')
    change(path, place, b'"slices": 20', b'"slices": 21')
    assert verify_set(folder) == [f"{path}: sample 00000000: json is not what was written (SHA-256)"]


@pytest.mark.parametrize(
    ("at", "old", "new"),
    [(0, b"00000005", b"00000004"), (108, b"0000000", b"0000001"), (257, b"ustar", b"Ustar")],
)
def test_a_damaged_header_is_named_and_its_file_is_still_found(folder, at, old, new):
    path = folder / NAMES[1]
    change(path, member(path, "00000005.label.npy") + at, old, new)
    assert verify_set(folder) == [f"{path}: tar header of 00000005.label.npy: not as it was written"]


def test_the_header_of_the_first_file_may_be_damaged(folder):
    path = folder / NAMES[0]
    change(path, 0, path.read_bytes()[:512], bytes(512))
    assert verify_set(folder) == [f"{path}: tar header of 00000000.image.npy: not as it was written"]


def test_a_file_that_ends_in_zeros_is_found_behind_a_lost_header(tmp_path):
    labels = [Sample(sample_key(i), None, np.zeros(SHAPE, np.uint8), series_record(i)) for i in range(3)]
    path = write(tmp_path / "labels", labels) / NAMES[0]
    place = member(path, "00000001.label.npy")
    change(path, place, path.read_bytes()[place : place + 512], bytes(512))
    assert verify_set(tmp_path / "labels") == [
        f"{path}: tar header of 00000001.label.npy: not as it was written"
    ]


def test_damaged_padding_is_named(folder):
    path = folder / NAMES[0]
    place = member(path, "00000001.image.npy")
    size = int(path.read_bytes()[place + 124 : place + 135], 8)
    change(path, place + 512 + size, b"\0", b"x")
    assert verify_set(folder) == [f"{path}: padding after 00000001.image.npy: not as it was written"]
    change(path, place + 512 + size, b"x", b"\0")
    change(path, len(path.read_bytes()) - 1, b"\0", b"x")
    (line,) = verify_set(folder)
    assert "after 00000003.json: not zero" in line


def test_a_cut_shard_tells_what_is_left(folder):
    path = folder / NAMES[1]
    size = path.stat().st_size
    cut = member(path, "00000006.label.npy") + 600
    path.write_bytes(path.read_bytes()[:cut])
    lines = verify_set(folder)
    assert lines[0] == f"{path}: {cut} bytes instead of {size}"
    assert lines[1] == f"{path}: cut off: 2 whole samples left, the first lost is 00000006"
    assert len(lines) == 2


def test_a_sample_cut_out_of_the_middle_is_named(folder):
    path = folder / NAMES[0]
    start, stop = (member(path, f"0000000{i}.image.npy") for i in (1, 3))
    content = path.read_bytes()
    path.write_bytes(content[:start] + content[stop:])
    assert f"{path}: samples 00000001 to 00000002: not there" in verify_set(folder)


def test_an_empty_shard_and_a_missing_one(folder):
    (folder / NAMES[0]).write_bytes(b"")
    (folder / NAMES[1]).unlink()
    lines = verify_set(folder)
    assert f"{folder / NAMES[0]}: cut off: 0 whole samples left, the first lost is 00000000" in lines
    assert f"{folder / NAMES[1]}: is missing, and with it samples 00000004 to 00000007" in lines


def test_a_shard_of_another_set_is_found(folder, tmp_path):
    other = write(tmp_path / "other", [sample_of(index + 4) for index in range(4)])
    (folder / NAMES[0]).write_bytes((other / NAMES[0]).read_bytes())
    text = "\n".join(verify_set(folder))
    assert "samples 00000000 to 00000003: not there" in text
    assert "samples 00000004 to 00000007: not of this shard" in text


def test_a_changed_manifest_is_found(folder):
    edit_manifest(folder, label_digest="0" * 64)
    assert verify_set(folder) == [
        f"{folder / MANIFEST}: label_digest is not that of the labels in the shards"
    ]
    edit_manifest(folder, samples=11)
    (line,) = verify_set(folder)
    assert "its shards do not hold 11 samples" in line
    edit_manifest(folder, version=3)
    assert "version 3" in verify_set(folder)[0]
    (folder / MANIFEST).write_text("[" * 100_000)
    assert MANIFEST in verify_set(folder)[0]


def test_shards_of_unequal_size_are_told(tmp_path):
    folder = write(tmp_path / "x", [sample_of(index) for index in range(10)], per_shard=5)
    lines = verify_set(folder)
    assert lines[0] == f"{folder / MANIFEST}: {NAMES[0]} holds 5 samples instead of 4" and len(lines) == 2


def with_image(values):
    return Sample("00000001", np.full(SHAPE, values, np.float16), sample_of(1).label, series_record(1))


def with_label(label):
    image = np.zeros(label.shape, np.float16)
    return Sample("00000001", image, label, series_record(1))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (with_image(np.nan), "image.npy: values that are not in [0, 1]"),
        (with_image(1.5), "image.npy: values that are not in [0, 1]"),
        (with_image(-0.1), "image.npy: values that are not in [0, 1]"),
        (with_label(np.full(SHAPE, 99, np.uint8)), "label.npy: codes that mean nothing (99)"),
        (with_label(np.zeros((16, 16), np.uint8)), "label.npy: shape (16, 16) instead of (32, 16)"),
        (sample_of(1, images=False), "image.npy: missing, unlike in the others"),
        (Sample("00000001", sample_of(1).image, sample_of(1).label, {}), "'source' is a required property"),
        (
            Sample("00000001", np.zeros((8, 8), np.float16), sample_of(1).label, series_record(1)),
            "image.npy: shape (8, 8), the label's (32, 16)",
        ),
        (sample_of(7), "sample 00000001: not there"),
    ],
)
def test_what_a_writer_did_wrong_is_found(tmp_path, wrong, told):
    samples = [sample_of(0), wrong, sample_of(2)]
    lines = verify_set(write(tmp_path / "x", samples))
    assert lines and all(NAMES[0] in line for line in lines) and any(told in line for line in lines)


def test_the_shape_is_that_of_the_grid(tmp_path):
    grid = {"spacing_mm": 1.0, "shape": [64, 64]}
    lines = verify_set(write(tmp_path / "x", [sample_of(0)], grid=grid))
    assert [line.split(": ", 1)[1] for line in lines] == [
        "sample 00000000: label.npy: shape (32, 16) instead of (64, 64)"
    ]


def test_rendered_samples_have_the_number_of_their_key_and_the_seed_of_the_set(tmp_path):
    samples = [sample_of(index, record=rendered_record) for index in range(3)]
    assert verify_set(write(tmp_path / "synthetic", samples, label_bank=BANK, seed=7)) == []
    assert "seed is 7, the set's 8" in verify_set(write(tmp_path / "x", samples, label_bank=BANK, seed=8))[0]
    samples[1].record["index"] = 5
    assert "index is 5" in verify_set(write(tmp_path / "y", samples, label_bank=BANK, seed=7))[0]


def test_a_synthetic_set_is_compared_with_the_label_maps_beside_it(tmp_path):
    labels = write(tmp_path / "labels", [sample_of(0, images=False)])
    bank = json.loads((labels / MANIFEST).read_text())["label_digest"]
    rendered = [sample_of(0, record=rendered_record)]
    assert verify_set(write(tmp_path / "synthetic", rendered, label_bank=bank, seed=7)) == []
    (line,) = verify_set(write(tmp_path / "synthetic", rendered, label_bank=BANK, seed=7))
    assert "other label maps" in line and str(labels) in line


def test_what_does_not_belong_is_told(folder):
    for name in ("notes.txt", ".tmp-12-shard-000000.tar"):
        (folder / name).write_text("x")
    (folder / "unfinished").mkdir()
    lines = verify_set(folder)
    assert [line.split(": ")[0] for line in lines] == [
        str(folder / name) for name in (".tmp-12-shard-000000.tar", "notes.txt", "unfinished")
    ]


def test_an_unfinished_set_is_told(folder):
    (folder / MANIFEST).unlink()
    (folder / "unfinished").mkdir()
    text = "\n".join(verify_set(folder))
    assert "no complete set here" in text and "left by a run that did not finish" in text


class Remote:
    """A place that cannot be listed, and of which one shard cannot be read."""

    path = None

    def __init__(self, folder, broken=None, url="http://host/set"):
        self.folder, self.broken, self.url, self.name = folder, broken, url, folder.name

    def __truediv__(self, name):
        return Remote(self.folder / name, url=f"{self.url}/{name}")

    def __str__(self):
        return self.url

    def read(self, name):
        if name == self.broken:
            raise OSError(f"{self}/{name}: cannot be read (timed out)")
        return (self.folder / name).read_bytes()

    def size(self, name):
        return (self.folder / name).stat().st_size if (self.folder / name).is_file() else None

    def names(self):
        raise PermissionError("no listing")


def test_a_place_that_cannot_be_listed_is_noted(folder, monkeypatch):
    monkeypatch.setattr("shards.verify.open_place", lambda where: where)
    notes = []
    assert verify_set(Remote(folder), note=notes.append) == []
    assert "cannot be listed" in notes[0]


def test_a_shard_that_cannot_be_reached_is_a_problem_and_no_error(folder, monkeypatch):
    monkeypatch.setattr("shards.verify.open_place", lambda where: where)
    lines = verify_set(Remote(folder, broken=NAMES[1]))
    assert lines == [f"http://host/set/{NAMES[1]}: cannot be read (timed out)"]


def test_sets_are_found(folder, tmp_path):
    write(tmp_path / "labels", [sample_of(0)])
    (tmp_path / "killed" / "unfinished").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    assert [place.name for place in find_sets(tmp_path)] == ["killed", "labels", "real_t1_val"]
    assert [place.name for place in find_sets(folder)] == ["real_t1_val"]


def test_no_set_is_a_clear_error(tmp_path):
    with pytest.raises(ShardError, match="neither a set"):
        find_sets(tmp_path)
    with pytest.raises(ShardError, match="no such folder"):
        find_sets(tmp_path / "nowhere")


def test_every_set_gets_a_line(folder, tmp_path, capsys):
    broken = write(tmp_path / "labels", [sample_of(0), sample_of(1)])
    (broken / NAMES[0]).unlink()
    with pytest.raises(ShardError, match="1 problem in 1 of 2 sets"):
        verify_places([tmp_path])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"BAD {broken}: 1 problem" and lines[0].startswith(f"{broken / NAMES[0]}: is missing")
    assert lines[2].startswith(f"ok {folder}: 10 samples in 3 shards, 0.1 MB, ")


CONTENT = b"".join(pack([sample_of(index) for index in range(3)]).parts)
PLACES = st.integers(0, len(CONTENT) - 1)
# Headers and records are a small part of a shard, and where readers break.
HEADERS = st.sampled_from(
    [
        at + i
        for at in range(0, len(CONTENT), 512)
        if CONTENT[at + 257 :].startswith(b"ustar")
        for i in range(700)
    ]
)
FLIPS = st.tuples(st.just("flip"), PLACES | HEADERS, st.binary(min_size=1, max_size=40))
CUTS = st.tuples(st.just("cut"), PLACES | HEADERS, st.integers(1, len(CONTENT)))
INSERTS = st.tuples(st.just("insert"), PLACES | HEADERS, st.binary(min_size=1, max_size=1200))


def damage(content, steps):
    for what, place, value in steps:
        if what == "flip":
            content = content[:place] + value + content[place + len(value) :]
        elif what == "cut":
            content = content[:place] + content[place + value :]
        else:
            content = content[:place] + value + content[place:]
    return content


@settings(max_examples=120, deadline=None, derandomize=True)
@given(steps=st.lists(FLIPS | CUTS | INSERTS, min_size=1, max_size=3), signed=st.booleans())
def test_any_damage_is_told_and_nothing_raises(steps, signed):
    content = damage(CONTENT, steps)
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name) / "x", [sample_of(index) for index in range(3)])
        (folder / NAMES[0]).write_bytes(content)
        if signed and content:
            # Damage before the manifest was written: only what the samples say of themselves is left.
            entry = {"name": NAMES[0], "samples": 3, "bytes": len(content)}
            edit_manifest(folder, shards=[entry | {"sha256": hashlib.sha256(content).hexdigest()}])
            verify_set(folder)
            return
        lines = verify_set(folder)
    assert bool(lines) == (content != CONTENT)
    assert all(line.startswith((str(folder / NAMES[0]), str(folder / MANIFEST))) for line in lines)
    assert not lines or any(NAMES[0] in line for line in lines)


@pytest.mark.filterwarnings("ignore:Reading `.npy`")
@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    text=st.binary(max_size=118) | st.sampled_from([b"{1: 2, 'descr': 3}", b"{'descr': '|u1'}", b"[" * 100])
)
def test_arrays_with_senseless_headers_do_not_raise(text):
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(118)
    body = header + bytes(SHAPE[0] * SHAPE[1])
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("shards.sample._npy", lambda array: body)
        folder = write(Path(name) / "x", [sample_of(0, images=False)])
        assert verify_set(folder)

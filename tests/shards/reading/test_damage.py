"""Damage is traced to samples and files, whatever was damaged."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from handmade import (
    NAMES,
    SHAPE,
    change,
    edit_manifest,
    member,
    sample_of,
    series_record,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from synthspine.shards.checking.verify import verify_set
from synthspine.shards.format.manifest import MANIFEST
from synthspine.shards.format.sample import Sample, sample_key
from synthspine.shards.format.tar import pack


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "real_t1_val", [sample_of(index) for index in range(10)])


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
        patch.setattr("synthspine.shards.format.sample._npy", lambda array: body)
        folder = write(Path(name) / "x", [sample_of(0, images=False)])
        assert verify_set(folder)

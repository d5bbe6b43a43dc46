import hashlib

import numpy as np
import pytest
from handmade import (
    BANK,
    NAMES,
    PER_SHARD,
    SHAPE,
    edit_manifest,
    rendered_record,
    sample_of,
    series_record,
    write,
)

from synthspine.shards.checking.verify import find_sets, verify_places, verify_set
from synthspine.shards.format.manifest import MANIFEST
from synthspine.shards.format.sample import Sample, ShardError
from synthspine.shards.format.tar import pack
from synthspine.shards.storage.opening import open_place


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "real_t1_val", [sample_of(index) for index in range(10)])


def test_an_undamaged_set_has_no_problem(folder):
    notes = []
    assert verify_set(folder, log=notes.append) == [] and notes == []


def test_sets_of_label_maps_and_empty_sets_are_fine(tmp_path):
    assert verify_set(write(tmp_path / "labels", [sample_of(i, images=False) for i in range(5)])) == []
    assert verify_set(write(tmp_path / "empty", [])) == []


def test_a_shard_of_another_set_is_found(folder, tmp_path):
    other = write(tmp_path / "other", [sample_of(index + 4) for index in range(4)])
    (folder / NAMES[0]).write_bytes((other / NAMES[0]).read_bytes())
    (line,) = verify_set(folder)
    lost = "and with it samples 00000000 to 00000003"
    assert line.startswith(f"{folder / NAMES[0]}: is damaged (SHA-256 differs), {lost}; ")


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        (lambda content: content[:-512], "bytes instead of"),
        (lambda content: content[:700] + bytes([content[700] ^ 1]) + content[701:], "SHA-256 differs"),
        (None, "is missing"),
    ],
)
def test_every_damaged_shard_is_reported_with_its_repair(folder, change, reported):
    for name in NAMES[:2]:
        path = folder / name
        if change is None:
            path.unlink()
        else:
            path.write_bytes(change(path.read_bytes()))
    lines = verify_set(folder)
    assert [line.split(": ")[0] for line in lines] == [str(folder / name) for name in NAMES[:2]]
    assert all(reported in line and line.endswith("--rebuild writes it again") for line in lines)


def write_raw(folder, *parts):
    """A set of one shard whose manifest agrees with its bytes, whatever they are."""
    write(folder, [sample_of(index) for index in range(PER_SHARD)])
    content = b"".join(parts)
    (folder / NAMES[0]).write_bytes(content)
    entry = {"name": NAMES[0], "samples": PER_SHARD, "bytes": len(content)}
    edit_manifest(folder, shards=[entry | {"sha256": hashlib.sha256(content).hexdigest()}])
    return folder


def test_a_malformed_shard_with_a_correct_digest_is_reported(tmp_path):
    assert "not a tar" in verify_set(write_raw(tmp_path / "x", b"no"))[0]
    samples = [sample_of(index) for index in range(PER_SHARD)]
    content = pack(samples).content.replace(b'{"contrast"', b'["contrast"')
    (line,) = verify_set(write_raw(tmp_path / "y", content))
    assert line.startswith(f"{tmp_path / 'y' / NAMES[0]}: sample 00000000: json: ")


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


def with_image(values):
    return Sample("00000001", np.full(SHAPE, values, np.float16), sample_of(1).label, series_record(1))


def with_label(label):
    image = np.zeros(label.shape, np.float16)
    return Sample("00000001", image, label, series_record(1))


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        (with_image(np.nan), "image.npy: values that are not in [0, 1]"),
        (with_image(1.5), "image.npy: values that are not in [0, 1]"),
        (with_image(-0.1), "image.npy: values that are not in [0, 1]"),
        (with_label(np.full(SHAPE, 99, np.uint8)), "label.npy: codes without a meaning (99)"),
        (with_label(np.zeros((16, 16), np.uint8)), "label.npy: shape (16, 16) instead of (32, 16)"),
        (sample_of(1, images=False), "image.npy: missing, unlike in the others"),
        (Sample("00000001", sample_of(1).image, sample_of(1).label, {}), "'source' is a required property"),
        (
            Sample("00000001", np.zeros((8, 8), np.float16), sample_of(1).label, series_record(1)),
            "image.npy: shape (8, 8), the label's (32, 16)",
        ),
        (
            sample_of(7),
            "holds 3 samples (00000000, 00000007, 00000002, ...) instead of samples 00000000 to 00000002",
        ),
    ],
)
def test_errors_of_a_writer_are_found(tmp_path, wrong, reported):
    samples = [sample_of(0), wrong, sample_of(2)]
    lines = verify_set(write(tmp_path / "x", samples))
    assert lines and all(NAMES[0] in line for line in lines) and any(reported in line for line in lines)


def test_the_shape_is_that_of_the_grid(tmp_path):
    grid = {"spacing_mm": 1.0, "shape": [64, 64]}
    lines = verify_set(write(tmp_path / "x", [sample_of(0)], grid=grid))
    assert [line.split(": ", 1)[1] for line in lines] == [
        "sample 00000000: label.npy: shape (32, 16) instead of (64, 64)"
    ]


def test_rendered_samples_have_their_index_and_the_seed_of_the_set(tmp_path):
    samples = [sample_of(index, record=rendered_record) for index in range(3)]
    assert verify_set(write(tmp_path / "synthetic", samples, label_bank=BANK, seed=7)) == []
    assert "seed is 7, the set's 8" in verify_set(write(tmp_path / "x", samples, label_bank=BANK, seed=8))[0]
    samples[1].record["index"] = 5
    assert "index is 5" in verify_set(write(tmp_path / "y", samples, label_bank=BANK, seed=7))[0]


def test_stray_files_are_reported(folder):
    for name in ("notes.txt", ".tmp-12-shard-000000.tar"):
        (folder / name).write_text("x")
    (folder / "unfinished").mkdir()
    lines = verify_set(folder)
    assert [line.split(": ")[0] for line in lines] == [
        str(folder / name) for name in (".tmp-12-shard-000000.tar", "notes.txt", "unfinished")
    ]


def test_an_unfinished_set_is_reported(folder):
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

    def read(self, name, most_bytes=None):
        if name == self.broken:
            raise OSError(f"{self}/{name}: cannot be read (timed out)")
        return (self.folder / name).read_bytes()

    def size(self, name):
        return (self.folder / name).stat().st_size if (self.folder / name).is_file() else None

    def names(self):
        raise PermissionError("no listing")


def test_a_place_that_cannot_be_listed_is_noted(folder, monkeypatch):
    monkeypatch.setattr("synthspine.shards.checking.verify.open_place", lambda where: where)
    notes = []
    assert verify_set(Remote(folder), log=notes.append) == []
    assert "cannot be listed" in notes[0]


def test_a_shard_that_cannot_be_read_is_reported_as_a_problem(folder, monkeypatch):
    monkeypatch.setattr("synthspine.shards.checking.verify.open_place", lambda where: where)
    lines = verify_set(Remote(folder, broken=NAMES[1]))
    assert lines == [f"http://host/set/{NAMES[1]}: cannot be read (timed out)"]


def test_sets_are_found(folder, tmp_path):
    write(tmp_path / "labels", [sample_of(0)])
    open_place(tmp_path / "killed").write("unfinished/owner.json", b"{}")
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

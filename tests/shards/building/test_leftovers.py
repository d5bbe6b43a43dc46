"""What a killed writer left, damaged since: it is thrown away and written again, which a line says."""

import json
import os
import shutil

import pytest
from counted import Counted, build, stopping

from synthspine.shards.building import build as building
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.format.sealed import SEAL, sealed


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit(path, seal=True, **changes):
    """Change entries of a leftover, also below its entry, with a digest that fits."""
    fields = json.loads(path.read_text())
    for name, value in changes.items():
        inner = fields if name in fields or name not in fields.get("entry", {}) else fields["entry"]
        inner[name] = value
    inner = {name: value for name, value in fields.items() if name != SEAL}
    path.write_text(json.dumps(sealed(inner) if seal else fields))


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def endless(path):
    path.unlink()
    path.symlink_to("/dev/zero")


DAMAGES = {
    "no digest": lambda path: path.write_text(path.read_text().replace(SEAL, "sha257")),
    "other digest": lambda path: edit(path, seal=False, samples=2),
    "fewer samples": lambda path: edit(path, samples=1),
    "negative samples": lambda path: edit(path, samples=-4),
    "no number": lambda path: edit(path, samples="4"),
    "infinitely many": lambda path: edit(path, samples=10**30),
    "nested": lambda path: path.write_text("[" * 5000),
    "list": lambda path: path.write_text("[]"),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe"),
    "fifo": fifo,
    "endless": endless,
}
OF_NOTES = DAMAGES | {
    "labels of others": lambda path: edit(path, label_digests=["0" * 64] * 4),
    "too few labels": lambda path: edit(path, label_digests=["0" * 64]),
    "another file": lambda path: edit(path, name="shard-000000.tar"),
    "a file outside": lambda path: edit(path, name="../other.tar"),
    "gigabytes": lambda path: edit(path, bytes=10**15),
    "bytes in words": lambda path: edit(path, bytes="many"),
    "labels in numbers": lambda path: edit(path, label_digests=[1, 2, 3, 4]),
    "no entry": lambda path: edit(path, entry=None),
    "of another": lambda path: shutil.copy(path.with_name("shard-000002.json"), path),
    "beyond the end": lambda path: path.rename(path.with_name("shard-000700.json")),
    "no number in the name": lambda path: path.rename(path.with_name("shard-x.json")),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "set"
    build(folder, Counted(37))
    return files_of(folder)


@pytest.mark.parametrize("damage", OF_NOTES)
def test_a_note_that_does_not_check_out_costs_its_shard(tmp_path, damage, whole, capsys):
    folder = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        build(folder, stopping(Counted(37), at=20))
    OF_NOTES[damage](folder / "unfinished" / "shard-000001.json")
    build(folder, Counted(37))
    assert files_of(folder) == whole
    lines = [line for line in capsys.readouterr().out.splitlines() if "do not check out" in line]
    if damage in ("no number in the name", "fifo", "endless"):
        # Not taken for a note.
        assert not lines
    else:
        number = 700 if damage == "beyond the end" else 1
        assert lines == [
            f"{folder}: notes on shard-000{number:03d}.tar of a killed run do not check out; written again"
        ]


@pytest.mark.parametrize("kind", [fifo, endless])
def test_a_noted_shard_that_is_no_file_is_written_again(tmp_path, kind, whole):
    folder = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        build(folder, stopping(Counted(37), at=20))
    kind(folder / "shard-000001.tar")
    build(folder, Counted(37))
    assert files_of(folder) == whole


OF_OWNERS = {
    "nested": lambda path: path.write_text("[" * 5000),
    "list": lambda path: path.write_text("[1]"),
    "fifo": fifo,
    "endless": endless,
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "staging is a file": lambda path: (shutil.rmtree(path.parent), path.parent.write_text("x")),
    "staging is nowhere": lambda path: (
        shutil.rmtree(path.parent),
        path.parent.symlink_to(path.parent.parent / "nowhere"),
    ),
}


@pytest.mark.parametrize("damage", OF_OWNERS)
def test_without_its_owner_a_set_is_begun_anew(tmp_path, damage, whole, capsys):
    folder = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        build(folder, stopping(Counted(37), at=20))
    OF_OWNERS[damage](folder / "unfinished" / "owner.json")
    build(folder, Counted(37))
    assert files_of(folder) == whole
    said = "owner.json: of a killed run, and does not check out" in capsys.readouterr().out
    assert said == (damage in ("nested", "list"))


def test_the_folder_that_a_staging_folder_is_linked_to_keeps_its_files(tmp_path, whole):
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "precious").write_text("precious")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "unfinished").symlink_to(tmp_path / "others")
    build(tmp_path / "set", Counted(37))
    assert files_of(tmp_path / "set") == whole
    assert [path.name for path in (tmp_path / "others").iterdir()] == ["precious"]


OF_PARTS = DAMAGES | {
    "part of another": lambda path: shutil.copy(
        path.with_name("2_t1.json"),
        shutil.copy(path.with_name("2_t1.tar"), path.with_suffix(".tar")) and path,
    ),
    "part is a fifo": lambda path: fifo(path.with_suffix(".tar")),
    "part is gone": lambda path: path.with_suffix(".tar").unlink(),
    "gigabytes": lambda path: edit(path, part_bytes=10**15),
    "broken number": lambda path: edit(path, samples=float(json.loads(path.read_text())["samples"])),
    "left out": lambda path: edit(path, reason="unreadable", samples=0),
}


@pytest.mark.parametrize("damage", OF_PARTS)
def test_a_part_that_does_not_check_out_is_written_again(
    tmp_path, spider_folder, options, monkeypatch, damage, capsys
):
    split = tmp_path / "split.json"
    split.write_text('{"train": ["1", "2"]}')
    data = spider_folder(2)

    def killed(place, name, samples):
        raise KeyboardInterrupt

    chosen = options(data, split=split, skip_bad=True)
    with monkeypatch.context() as patch:
        patch.setattr(building, "write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            ensure_sets(["labels"], chosen)
    OF_PARTS[damage](chosen.place.path / "labels" / "unfinished" / "parts" / "1_t1.json")
    ensure_sets(["labels"], chosen)
    lines = [line for line in capsys.readouterr().out.splitlines() if "does not check out" in line]
    assert len(lines) == (damage not in ("left out", "fifo", "endless"))
    fresh = options(data, split=split, skip_bad=True, shards_dir=str(tmp_path / "fresh"))
    ensure_sets(["labels"], fresh)
    assert files_of(chosen.place.path / "labels") == files_of(fresh.place.path / "labels")

"""Damage that a writer finds: it is told or mended, and never given a digest of its own."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import servers
from counted import Counted, build, stopping

from synthspine.shards.building import series_samples
from synthspine.shards.building.series_samples import fingerprint
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.building.workers import Workers, one_builder
from synthspine.shards.checking.verify import find_sets, verify_set
from synthspine.shards.format.manifest import MANIFEST, load_manifest, manifest_json
from synthspine.shards.format.sample import ShardError
from synthspine.shards.reading.open import open_set
from synthspine.shards.storage.opening import open_place

HERE = Path(__file__).parent


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_damaged_part_is_told_and_made_again(spider_folder, options, tmp_path, monkeypatch, damage):
    data = spider_folder()
    chosen = options(data)
    real = series_samples.SeriesSamples.begin

    def damaging(self, start, stop):
        for part in (chosen.place.path / "labels" / "unfinished" / "parts").glob("*.tar"):
            if damage == "flip":
                flip(part, part.stat().st_size // 2)
            else:
                part.unlink()
        return real(self, start, stop)

    with monkeypatch.context() as patch:
        patch.setattr(series_samples.SeriesSamples, "begin", damaging)
        with pytest.raises(ShardError, match=r"parts/.*_t.\.tar: damaged \(.*run again to make it anew"):
            ensure_sets(["labels"], chosen)
    # One damaged part is found at a time.
    for _ in range(20):
        try:
            ensure_sets(["labels"], chosen)
            break
        except ShardError as error:
            assert "run again to make it anew" in str(error)
    whole = options(data, shards_dir=str(tmp_path / "whole"))
    ensure_sets(["labels"], whole)
    assert files_of(chosen.place.path / "labels") == files_of(whole.place.path / "labels")


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_damaged_shards_of_a_complete_set_are_written_again(spider_folder, options, capsys, damage):
    chosen = options(spider_folder())
    folder = ensure_sets(["labels"], chosen)["labels"].path
    before = files_of(folder)
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tar")}
    path = folder / "shard-000001.tar"
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(before[path.name][:-512])
    else:
        flip(path, 700)
    # What a length does not tell is looked for when it is asked for.
    ensure_sets(["labels"], replace(chosen, rebuild=damage == "flipped"))
    assert files_of(folder) == before and verify_set(folder) == []
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tar")}
    assert {name for name in times if times[name] != after[name]} == {path.name}
    said = capsys.readouterr().out
    assert f"going on, {len(times) - 1} of {len(times)} shards are there" in said
    assert ("shard-000001.tar missing or cut: written again" in said) == (damage != "flipped")


def test_a_rebuild_with_other_versions_writes_all_shards(spider_folder, options, monkeypatch):
    chosen = options(spider_folder())
    ensure_sets(["labels"], chosen)
    monkeypatch.setattr(series_samples, "made_with", lambda: {"torch": "another"})
    place = ensure_sets(["labels"], replace(chosen, rebuild=True))["labels"]
    assert load_manifest(place).made_with == {"torch": "another"} and verify_set(place) == []


def test_a_noted_shard_that_was_damaged_since_is_written_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "set", stopping(Counted(37), at=20))
    flip(tmp_path / "set" / "shard-000001.tar", 700)
    build(tmp_path / "set", Counted(37))
    build(tmp_path / "whole" / "set", Counted(37))
    assert files_of(tmp_path / "set") == files_of(tmp_path / "whole" / "set")


def test_a_change_in_the_middle_of_a_file_is_noticed(tmp_path):
    path = tmp_path / "1_t1.mha"
    path.write_bytes(b"ObjectType = Image\nCompressedData = False\n" + bytes(300_000))
    before = fingerprint(path)
    flip(path, 150_000)
    assert fingerprint(path) != before
    # The end of a compressed file depends on all of it.
    path.write_bytes(b"ObjectType = Image\nCompressedData = True\n" + bytes(300_000))
    before = fingerprint(path)
    flip(path, 300_000)
    assert fingerprint(path) != before


def test_a_set_behind_a_url_that_lost_its_manifest_is_not_passed_over(web_url, web_folder):
    for name in ("labels", "labels_val"):
        build(web_folder / "lost" / name, Counted(5))
    (web_folder / "lost" / "labels" / MANIFEST).unlink()
    found = find_sets(f"{web_url}/lost")
    assert [place.name for place in found] == ["labels", "labels_val"]
    assert any("manifest.json is missing" in line for line in verify_set(found[0]))


def test_what_a_killed_writer_left_behind_a_url_is_cleared(bucket_url, spider_folder, options):
    chosen = options(spider_folder(), shards_dir=f"{bucket_url}/cleared")
    place = ensure_sets(["labels"], chosen)["labels"]
    place.write("unfinished/owner.json", b"{}")
    ensure_sets(["labels"], chosen)
    assert (place / "unfinished").names() == [] and verify_set(place) == []


def test_a_writer_does_not_clear_a_set_that_another_has_just_finished(tmp_path):
    place = build(tmp_path / "set", Counted(5))
    with pytest.raises(ShardError, match="another process has finished a set here; run again to use it"):
        build(tmp_path / "set", Counted(5))
    assert len(open_set(place).read().records) == 5


def test_a_rank_that_cannot_write_the_lock_stays_in_step(tmp_path, monkeypatch):
    calls = []

    def denied(place):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("synthspine.shards.building.workers._lock_file", denied)
    for rank in (0, 1):
        workers = Workers(
            rank=rank, world=2, gather=lambda value, rank=rank: calls.append(rank) or [value] * 2
        )
        with one_builder(open_place(tmp_path), workers):
            pass
    assert calls == [0, 1]


def test_a_server_that_does_not_answer_does_not_keep_a_reader_from_being_interrupted(tmp_path):
    place = build(tmp_path / "set", Counted(5))
    manifest = (place.path / MANIFEST).read_bytes()
    assert manifest_json(load_manifest(place))["samples"] == 5
    program = (
        "import sys; from synthspine.shards import open_set; "
        "print(len(list(open_set(sys.argv[1]).samples())))"
    )
    with servers.bad(servers.good(manifest), servers.stall(60)) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", program, f"{server.url}/set"],
            cwd=HERE.parents[1],
            env={"PYTHONPATH": str(HERE.parents[1]), "SYNTHSPINE_CACHE": "", "PATH": ""},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        while len(server.requests) < 2:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=10)
    assert process.returncode != 0 and "KeyboardInterrupt" in error

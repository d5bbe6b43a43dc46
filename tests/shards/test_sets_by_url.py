"""Sets behind URLs: written there, read from there through the cache, and trained from."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from counted import Counted, build, let_another_writer_in, stopping
from nobody import as_nobody

from synthspine.shards.building import build as building
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.building.staging import STAGING
from synthspine.shards.building.workers import ALONE
from synthspine.shards.format.manifest import has_manifest
from synthspine.shards.format.sample import ShardError
from synthspine.shards.reading.open import open_set
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.place import Place


@pytest.fixture(params=["s3", "memory"])
def url(request, tmp_path):
    """An empty place of every kind that can be written."""
    if request.param == "memory":
        return f"memory://{tmp_path.name}"
    return f"{request.getfixturevalue('bucket_url')}/{tmp_path.name}"


@pytest.fixture
def served(web_url, web_folder, tmp_path):
    """A folder, and the URL under which a web server hands it on."""
    return web_folder / tmp_path.name, f"{web_url}/{tmp_path.name}"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    monkeypatch.setenv("SYNTHSPINE_CACHE", str(folder))
    return folder


def content_of(place: Place) -> dict[str, bytes]:
    return {name: place.read(name) for name in place.names()}


def test_a_set_at_a_url_has_the_bytes_of_a_local_one(url, tmp_path):
    place = build(f"{url}/set", Counted(37))
    assert content_of(place) == content_of(build(tmp_path / "local" / "set", Counted(37)))
    assert (place / STAGING).names() == []
    assert open_set(place).read().labels[:, 0, 0].tolist() == list(range(37))


def test_a_killed_writer_is_continued_at_a_url(url, tmp_path, monkeypatch, capsys):
    with pytest.raises(KeyboardInterrupt):
        build(f"{url}/set", stopping(Counted(37), at=20))
    place = open_place(f"{url}/set")
    assert not has_manifest(place)
    with pytest.raises(ShardError, match="no complete set here"):
        open_set(place)
    written = [name for name in place.names() if name.endswith(".tar")]
    real, again = building.write_shard, []
    monkeypatch.setattr(
        building, "write_shard", lambda place, name, samples: again.append(name) or real(place, name, samples)
    )
    build(f"{url}/set", Counted(37))
    assert len(written) > 0 and not set(written) & set(again)
    assert f"continuing, {len(written)} of 10" in capsys.readouterr().out
    assert content_of(place) == content_of(build(tmp_path / "local" / "set", Counted(37)))


def test_another_machine_that_begins_another_set_is_noticed(url, monkeypatch):
    let_another_writer_in(monkeypatch)
    with pytest.raises(ShardError, match="another writer has begun another set here"):
        build(f"{url}/set", Counted(100))
    assert not has_manifest(open_place(f"{url}/set"))


def test_shards_of_a_url_are_cached_by_content(url, cache):
    place = build(f"{url}/set", Counted(37))
    first = [sample.record["index"] for sample in open_set(place).samples()]
    entries = open_set(place).manifest.shards
    assert {path.stem for path in cache.rglob("*.tar")} == {entry.sha256 for entry in entries}
    for entry in entries:
        place.remove(entry.name)
    # All of it comes from the cache now, checked again.
    assert [sample.record["index"] for sample in open_set(place).samples()] == first
    shutil.rmtree(cache)
    with pytest.raises(ShardError, match=r"shard-000000\.tar: is missing, and with it samples 00000000 to"):
        next(open_set(place).samples())


def test_damage_at_a_url_is_reported_and_not_cached(url, cache):
    place = build(f"{url}/set", Counted(37))
    content = place.read("shard-000001.tar")
    place.write("shard-000001.tar", content.replace(b"\x05\x05\x05", b"\x05\x05\x04", 1))
    with pytest.raises(ShardError, match=r"shard-000001\.tar: is damaged \(SHA-256 differs\)"):
        open_set(place).read()
    place.write("shard-000001.tar", content[:-512])
    with pytest.raises(ShardError, match=rf"{len(content) - 512} bytes instead of {len(content)}"):
        open_set(place).read()
    assert {path.stem for path in cache.rglob("*.tar")}.isdisjoint(
        {open_set(place).manifest.shards[1].sha256}
    )
    place.write("shard-000001.tar", content)
    assert len(open_set(place).read().records) == 37


def test_all_sets_are_written_to_a_url_and_the_second_run_writes_nothing(
    url, spider_folder, options, tmp_path, capsys
):
    data = spider_folder()
    local, remote = options(data), options(data, shards_dir=f"{url}/sets")
    for chosen in (local, remote):
        ensure_sets(["synthetic", "real_t1_val"], chosen)
    for name in ("labels", "synthetic", "real_t1_val"):
        assert content_of(remote.place / name) == content_of(local.place / name)
    assert remote.place.read("split.json") == local.place.read("split.json")
    capsys.readouterr()
    ensure_sets(["synthetic", "real_t1_val"], remote)
    printed = capsys.readouterr().out
    assert "wrote" not in printed and printed.count("complete") == 3
    with pytest.raises(ShardError, match="was made with other seed"):
        ensure_sets(["synthetic"], replace(remote, seed=1))


def test_sets_are_used_without_their_sources(url, spider_folder, options, tmp_path, monkeypatch, capsys):
    remote = options(spider_folder(), shards_dir=f"{url}/sets")
    ensure_sets(["synthetic"], remote)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    capsys.readouterr()
    places = ensure_sets(["synthetic"], replace(remote, data_dir=Path("data")))
    assert f"complete {url}/sets/synthetic" in capsys.readouterr().out
    assert len(open_set(places["synthetic"])) == 7
    assert not (elsewhere / "data").exists()


def test_a_set_behind_a_web_server_is_read_through_the_cache(served, cache):
    folder, url = served
    build(folder / "set", Counted(37))
    shards = open_set(f"{url}/set")
    assert shards.read().labels[:, 0, 0].tolist() == list(range(37))
    assert {path.stem for path in cache.rglob("*.tar")} == {entry.sha256 for entry in shards.manifest.shards}
    (folder / "set" / "shard-000001.tar").write_bytes(b"x")
    # All of it comes from the cache now, checked again.
    assert len(open_set(f"{url}/set").read().records) == 37


def test_sets_behind_a_web_server_are_used_and_none_is_written_there(served, spider_folder, options, capsys):
    folder, url = served
    data = spider_folder()
    ensure_sets(["labels"], options(data, shards_dir=str(folder / "sets")))
    remote = options(data, shards_dir=f"{url}/sets")
    capsys.readouterr()
    ensure_sets(["labels"], remote)
    assert f"\ncomplete {url}/sets/labels" in capsys.readouterr().out
    with pytest.raises(PermissionError, match=rf"^{url}/sets/labels_val.*: web servers are read only"):
        ensure_sets(["labels_val"], remote)


def test_a_folder_that_cannot_be_written_is_read_and_trained_from(spider_folder, options):
    chosen = options(spider_folder())
    ensure_sets(["labels"], chosen)
    (chosen.place.path / ".lock").unlink()

    def work():
        assert len(open_set(ensure_sets(["labels"], chosen, ALONE)["labels"]).read().records)

    as_nobody(chosen.place.path, work)

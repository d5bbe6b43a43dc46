"""Sets of the service are read like folders: by this project's reader, its commands, and WebDataset."""

import hashlib
import json
import shutil
from dataclasses import replace
from itertools import islice
from urllib.parse import urlsplit

import pytest
import servers
import webdataset

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from service_program import ROOT
from service_thread import TOKEN, running, serve_options

from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.checking.summary import inspect_set
from synthspine.shards.checking.verify import verify_places, verify_set
from synthspine.shards.format.manifest import load_manifest, manifest_text
from synthspine.shards.format.sample import ShardError
from synthspine.shards.reading.open import open_set
from synthspine.shards.reading.stream import ShardStream
from synthspine.shards.storage import http as web
from synthspine.shards.storage.auth import TOKEN_VARIABLE
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.retries import Retries


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(serve_options(tmp_path_factory.mktemp("service"))) as service:
        yield service


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with running(serve_options(tmp_path_factory.mktemp("guarded")), TOKEN) as service:
        yield service


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.setenv("SYNTHSPINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


@pytest.fixture
def quick(monkeypatch):
    """Retries that do not wait; the waits they would have made."""
    waits = []
    monkeypatch.setattr(web, "PATIENCE", Retries(attempts=4, sleep=waits.append))
    return waits


def same(one, other):
    return (
        one.key == other.key
        and one.record == other.record
        and (one.image == other.image).all()
        and (one.label == other.label).all()
    )


def test_the_reader_gets_from_the_service_what_it_gets_from_a_folder(service, tmp_path):
    options = replace(service.options.shards, shards_dir=str(tmp_path / "written"))
    written = open_set(ensure_sets(["synthetic"], options)["synthetic"])
    served = open_set(f"{service.sets}/synthetic")
    assert served.manifest.on_demand and not written.manifest.on_demand
    assert served.manifest.identity == written.manifest.identity
    for one, other in (
        (served.samples(), written.samples()),
        (served.stream(seed=3, stop=30), written.stream(seed=3, stop=30)),
    ):
        assert all(same(*pair) for pair in zip(one, other, strict=True))
    batches = (islice(ShardStream(shards, 4, seed=1), 8) for shards in (served, written))
    assert all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(*batches, strict=True))


def test_no_disk_is_filled_by_what_is_rendered_on_demand(service, tmp_path):
    assert len(list(open_set(f"{service.sets}/synthetic").samples())) == 23
    assert not list((tmp_path / "cache").rglob("*.tar"))


def test_commands_verify_and_inspect_take_the_url(service, tmp_path, capsys):
    assert verify_set(f"{service.sets}/synthetic") == []
    verify_places([service.sets])
    said = capsys.readouterr().out
    assert "ok" in said and "23 samples in 5 shards, rendered on demand" in said and "BAD" not in said
    inspect_set(f"{service.sets}/synthetic", tmp_path / "sheet.png")
    assert "rendered on demand" in capsys.readouterr().out and (tmp_path / "sheet.png").is_file()


def test_the_sets_are_those_a_training_asks_for(service, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"labels", "labels_val", "synthetic"}
    options = replace(service.options.shards, shards_dir=service.sets)
    for chosen in (options, replace(options, data_dir=type(options)().data_dir)):
        places = ensure_sets(names, chosen)
        assert {len(open_set(place)) for place in places.values()} == {15, 5, 23}
    assert "23 samples in 5 shards, rendered on demand" in capsys.readouterr().out
    with pytest.raises(ShardError, match="is rendered with other seed; give the service's own choices"):
        ensure_sets(names, replace(options, seed=1))


def test_the_token_is_sent_to_who_asks_for_it(guarded, monkeypatch):
    with pytest.raises(PermissionError, match=r"401 Unauthorized; it requires the token"):
        open_set(f"{guarded.sets}/synthetic")
    monkeypatch.setenv(TOKEN_VARIABLE, "not-the-right-token")
    with pytest.raises(PermissionError, match="401") as told:
        open_set(f"{guarded.sets}/synthetic")
    assert "not-the-right-token" not in str(told.value)
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert len(list(open_set(f"{guarded.sets}/synthetic").samples())) == 23
    assert len(open_set(f"{guarded.sets}/labels").read().records) == 15


def test_the_token_is_sent_to_nobody_else(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with servers.bad(servers.good(b"content"), servers.status(401)) as server:
        place = open_place(server.url)
        assert place.read("file") == b"content"
        with pytest.raises(PermissionError):
            place.read("file")
        assert not any("Authorization" in headers for headers in server.headers)


def test_a_busy_service_is_waited_for_as_long_as_it_asks(service, quick):
    shards = open_set(f"{service.sets}/synthetic")
    whole = shards.place.read("shard-000000.tar")
    entry = shards.manifest.shards[0]

    def busy(handler):
        handler.send_response(503)
        handler.send_header("Retry-After", "3")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with servers.bad(busy, busy, tagged(whole, entry)) as server:
        assert len(at(shards, server.url).load(0)) == 5
    assert len(quick) == 2 and all(3 < wait < 5 for wait in quick)
    with servers.bad(busy) as server, pytest.raises(OSError, match="gave up after 4 attempts"):
        at(shards, server.url).load(0)


def test_what_is_not_what_the_service_sent_is_an_error(service, quick):
    shards = open_set(f"{service.sets}/synthetic")
    whole, entry = shards.place.read("shard-000000.tar"), shards.manifest.shards[0]
    other = shards.manifest.shards[1]
    for way, text in (
        (tagged(whole[:-1] + b"x", entry, sha256=hashlib.sha256(whole).hexdigest()), "SHA-256 differs"),
        (tagged(whole, other), "another configuration, other label maps or versions, or on another"),
        (servers.good(whole), "comes without ETag and X-Content-SHA256"),
        (servers.status(404), "does not render it any more"),
    ):
        with servers.bad(way) as server, pytest.raises(ShardError, match=rf"shard-000000\.tar: .*{text}"):
            at(shards, server.url).load(0)


def test_a_copy_of_the_manifest_is_no_set(service, tmp_path):
    shards = open_set(f"{service.sets}/synthetic")
    place = open_place(tmp_path / "copy")
    place.write("manifest.json", manifest_text(shards.manifest).encode())
    assert load_manifest(place) == shards.manifest
    place.write("shard-000000.tar", shards.place.read("shard-000000.tar"))
    with pytest.raises(ShardError, match="is read from its service, by http or https"):
        open_set(place).load(0)
    damaged = json.loads(manifest_text(shards.manifest))
    damaged["shards"][1]["sha256"] = "0" * 64
    place.write("manifest.json", json.dumps(damaged).encode())
    with pytest.raises(ShardError, match=r"broken manifest \(shards/1"):
        open_set(place)


@pytest.mark.parametrize("kind", ["open", "guarded"])
def test_a_plain_webdataset_reader_reads_it(kind, service, guarded, monkeypatch):
    if shutil.which("curl") is None:
        pytest.skip("WebDataset reads URLs with curl, which is not installed")
    chosen = {"open": service, "guarded": guarded}[kind]
    urls = f"{chosen.sets}/synthetic/shard-{{000000..000004}}.tar"
    if kind == "guarded":
        monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
        header = """printf 'Authorization: Bearer %s' "$SYNTHSPINE_TOKEN" | """
        urls = f"pipe:{header}curl -sf --retry 9 -H @- {urls}"
        # The page of the service shows the same command.
        assert header.strip() in (ROOT / "docs" / "service.md").read_text()
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == [f"{index:08d}" for index in range(23)]
    assert samples[7]["image.npy"].shape == (64, 48) and samples[7]["json"]["index"] == 7


def tagged(content, entry, sha256=None):
    """Answers with a shard as the service does."""

    def way(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("ETag", f'"{entry.key}"')
        handler.send_header("X-Content-SHA256", sha256 or hashlib.sha256(content).hexdigest())
        handler.end_headers()
        handler.wfile.write(content)

    return way


def at(shards, url):
    """The same set, read from another server."""
    assert urlsplit(url).hostname == "127.0.0.1"
    return type(shards)(open_place(url), shards.manifest)

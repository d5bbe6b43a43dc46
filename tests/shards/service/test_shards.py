"""Shards over HTTP: their bytes, their conditions and ranges, and that each is rendered once."""

import hashlib
import json
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import fsspec
import pytest

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from service_thread import running, serve_options, wait_until

from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.service.running import make_delivery
from synthspine.shards.storage.opening import open_place

SHARD = "/v1/sets/synthetic/shard-000001.tar"


def test_every_served_shard_is_byte_for_byte_the_written_one(service, tmp_path):
    written = replace(service.options.shards, shards_dir=str(tmp_path / "written"), render_batch=3)
    place = ensure_sets(["synthetic"], written)["synthetic"]
    names = [name for name in place.names() if name.endswith(".tar")]
    assert len(names) == 5
    for name in names:
        status, headers, body = service.ask(f"/v1/sets/synthetic/{name}")
        assert status == 200 and body == place.read(name)
        assert headers["X-Content-SHA256"] == hashlib.sha256(body).hexdigest()


def test_the_manifest_has_counts_and_keys_but_no_digests(service):
    status, headers, body = service.ask("/v1/sets/synthetic/manifest.json")
    manifest = json.loads(body)
    assert status == 200 and manifest["on_demand"] is True and manifest["samples"] == 23
    assert [entry["samples"] for entry in manifest["shards"]] == [5, 5, 5, 5, 3]
    assert {name for entry in manifest["shards"] for name in entry} == {"name", "samples", "key"}
    assert "label_digest" not in manifest
    assert service.ask("/v1/sets/synthetic/manifest.json", If_None_Match=headers["ETag"])[0] == 304


def test_a_shard_has_a_strong_etag_which_is_its_key_and_always_a_length(service):
    key = json.loads(service.ask("/v1/sets/synthetic/manifest.json")[2])["shards"][1]["key"]
    whole = service.ask(SHARD)[2]
    assert len(whole) > 10_000
    for method, content in (("GET", whole), ("HEAD", b"")):
        status, headers, body = service.ask(SHARD, method)
        assert (status, body, headers["ETag"]) == (200, content, f'"{key}"')
        assert int(headers["Content-Length"]) == len(whole) and "Transfer-Encoding" not in headers
        assert headers["Accept-Ranges"] == "bytes" and "Last-Modified" not in headers
        assert headers["Content-Type"] == "application/x-tar"
        assert headers["X-Content-SHA256"] == hashlib.sha256(whole).hexdigest()


def test_a_head_request_renders_nothing_and_tells_what_is_known(tmp_path):
    with running(serve_options(tmp_path)) as fresh:
        status, headers, body = fresh.ask(SHARD, "HEAD")
        assert (status, body) == (200, b"") and headers["Content-Type"] == "application/x-tar"
        assert headers["ETag"] and headers["Accept-Ranges"] == "bytes"
        # Only a render would tell these two.
        assert "Content-Length" not in headers and "X-Content-SHA256" not in headers
        assert fresh.ask(SHARD, "HEAD", Range="bytes=0-9")[0] == 200
        assert fresh.count("render_seconds_count", kind="shard") == fresh.count("cache_misses_total") == 0
        stored = fresh.ask("/v1/sets/labels/shard-000000.tar", "HEAD")[1]
        assert not list((tmp_path / "rendered").glob("??/*.tar"))
        whole = fresh.ask("/v1/sets/labels/shard-000000.tar")[2]
        assert int(stored["Content-Length"]) == len(whole)
        assert stored["X-Content-SHA256"] == hashlib.sha256(whole).hexdigest()


def test_fsspec_and_curl_take_a_head_response_without_a_length(tmp_path):
    with running(serve_options(tmp_path)) as fresh:
        info = fsspec.filesystem("http").info(fresh.url + SHARD)
        assert info["size"] == len(fresh.ask(SHARD)[2])
        if shutil.which("curl"):
            other = fresh.url + "/v1/sets/synthetic/shard-000003.tar"
            head = subprocess.run(["curl", "-sfI", other], capture_output=True, text=True, check=True).stdout
            assert head.startswith("HTTP/1.1 200") and "etag" in head.lower()


@pytest.mark.parametrize(
    ("wish", "first", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299", 100, 300),
        ("bytes=512-", 512, None),
        ("bytes=-700", -700, None),
        ("bytes=-99999999", 0, None),
        ("bytes=5-99999999", 5, None),
        ("Bytes = 7 - 9", 7, 10),
    ],
)
def test_a_range_is_answered_with_that_part(service, wish, first, stop):
    whole = service.ask(SHARD)[2]
    status, headers, body = service.ask(SHARD, Range=wish)
    assert status == 206 and body == whole[first:stop]
    begin = first % len(whole)
    assert headers["Content-Range"] == f"bytes {begin}-{begin + len(body) - 1}/{len(whole)}"
    assert int(headers["Content-Length"]) == len(body)
    assert headers["X-Content-SHA256"] == hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize("wish", ["bytes=99999999-", "bytes=-0", "bytes=99999998-99999999"])
def test_a_range_behind_the_end_is_refused_with_the_length(service, wish):
    whole = service.ask(SHARD)[2]
    status, headers, body = service.ask(SHARD, Range=wish)
    assert status == 416 and headers["Content-Range"] == f"bytes */{len(whole)}" and not body


@pytest.mark.parametrize("ranges", [["0-0"] * 17, ["0-0"] * 3000, [""] * 16_000])
def test_many_ranges_are_refused_before_anything_is_rendered(service, ranges):
    before = service.count("cache_hits_total"), service.count("cache_misses_total")
    start = time.perf_counter()
    status, _, body = service.ask(SHARD, Range="bytes=" + ",".join(ranges)[:16_000])
    assert status == 416 and "at most 16 ranges" in json.loads(body)["error"]
    assert time.perf_counter() - start < 1
    assert before == (service.count("cache_hits_total"), service.count("cache_misses_total"))
    assert service.ask(SHARD, Range="bytes=" + ",".join(f"{9 * n}-{9 * n}" for n in range(16)))[0] == 206


def test_a_range_of_another_unit_is_ignored(service):
    for wish in ("lines=1-2", "none"):
        status, _, body = service.ask(SHARD, Range=wish)
        assert status == 200 and body == service.ask(SHARD)[2]


@pytest.mark.parametrize("wish", ["bytes=", "bytes=-", "bytes=9-3", "bytes=x-y"])
def test_a_range_that_cannot_be_read_is_refused(service, wish):
    status, _, body = service.ask(SHARD, Range=wish)
    assert status == 400 and b"ange" in body


def test_several_ranges_are_answered_with_their_parts(service):
    whole = service.ask(SHARD)[2]
    status, headers, body = service.ask(SHARD, Range="bytes=0-99,512-699")
    assert status == 206 and headers["Content-Type"].startswith("multipart/byteranges")
    assert whole[:100] in body and whole[512:700] in body and len(body) == int(headers["Content-Length"])


def test_if_range_gives_a_part_of_the_same_shard_only(service):
    etag = service.ask(SHARD)[1]["ETag"]
    assert service.ask(SHARD, Range="bytes=0-9", If_Range=etag)[0] == 206
    for other in ('"another"', f"W/{etag}", "Mon, 23 Nov 2026 01:38:53 GMT"):
        assert service.ask(SHARD, Range="bytes=0-9", If_Range=other)[0] == 200


def test_conditions_are_answered_without_rendering(tmp_path):
    with running(serve_options(tmp_path)) as fresh:
        key = fresh.delivery.rendered.manifest.shards[2].key
        path = "/v1/sets/synthetic/shard-000002.tar"
        for tags in (f'"{key}"', f'"x", W/"{key}"', "*"):
            status, headers, body = fresh.ask(path, If_None_Match=tags)
            assert (status, body, headers["ETag"]) == (304, b"", f'"{key}"')
        for tags in ('"another"', f'W/"{key}"', f'"another", W/"{key}"', ""):
            assert fresh.ask(path, If_Match=tags)[0] == 412
        assert fresh.count("render_seconds_count", kind="shard") == 0
        assert fresh.ask(path, If_Match=f'"{key}"', If_None_Match='"another"')[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "synthetic/shard-000005.tar",
        "synthetic/shard-1.tar",
        "synthetic/shard--00001.tar",
        "synthetic/shard-99999999999999999999.tar",
        "synthetic/..%2f..%2fsplit.tar",
        "nothing/shard-000000.tar",
        "nothing/manifest.json",
        "real_t1_val/manifest.json",
    ],
)
def test_what_is_not_there_is_404_and_nothing_is_rendered(service, path):
    before = service.count("cache_misses_total")
    status, _, body = service.ask(f"/v1/sets/{path}")
    assert status == 404 and json.loads(body)["error"]
    assert service.count("cache_misses_total") == before


def test_a_split_that_cannot_be_read_is_told(service, monkeypatch):
    def broken(place, name):
        raise PermissionError(f"{name}: cannot be read")

    monkeypatch.setattr(type(service.options.shards.place), "read", broken)
    status, _, body = service.ask("/v1/sets/split.json")
    assert status == 500 and "(PermissionError); the log of the service" in json.loads(body)["error"]


def test_other_methods_are_refused(service):
    for method in ("POST", "PUT", "DELETE"):
        assert service.ask(SHARD, method)[0] == 405


def test_stored_sets_and_the_split_are_served_as_they_lie_there(service):
    sets = open_place(service.options.shards.shards_dir)
    for name in ("labels", "labels_val"):
        assert json.loads(service.ask(f"/v1/sets/{name}/manifest.json")[2]) == json.loads(
            (sets / name).read("manifest.json")
        )
        _, headers, body = service.ask(f"/v1/sets/{name}/shard-000000.tar")
        assert body == (sets / name).read("shard-000000.tar")
        assert headers["ETag"] == f'"{hashlib.sha256(body).hexdigest()}"'
    assert service.ask("/v1/sets/split.json")[2] == sets.read("split.json")
    assert json.loads(service.ask("/v1/sets")[2])["labels"]["on_demand"] is False


def test_a_damaged_stored_shard_is_500_and_not_sent(tmp_path):
    options = serve_options(tmp_path)
    with running(options) as fresh:
        path = tmp_path / "sets" / "labels" / "shard-000000.tar"
        content = bytearray(path.read_bytes())
        content[700] ^= 1
        path.write_bytes(content)
        status, _, body = fresh.ask("/v1/sets/labels/shard-000000.tar")
        assert status == 500 and "SHA-256 differs" in json.loads(body)["error"]


def test_a_shard_is_rendered_once_however_many_ask(slow):
    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(slow.ask, SHARD) for _ in range(12)]
        wait_until(lambda: slow.count("cache_misses_total") == 12)
        slow.gate.set()
        bodies = {answer.result()[2] for answer in answers}
    assert len(bodies) == 1 and slow.begun == [5]


def test_what_does_not_fit_the_queue_is_503_with_retry_after_and_can_come_again(slow):
    paths = [f"/v1/sets/synthetic/shard-{number:06d}.tar" for number in range(5)]
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(slow.ask, paths[0])
        wait_until(lambda: slow.begun == [0])
        others = [pool.submit(slow.ask, path) for path in paths[1:4]]
        wait_until(lambda: slow.count("queue") == 3)
        status, headers, body = slow.ask(paths[4])
        assert status == 503 and int(headers["Retry-After"]) >= 1 and "waiting" in json.loads(body)["error"]
        slow.gate.set()
        assert [answer.result()[0] for answer in (first, *others)] == [200] * 4
    assert slow.ask(paths[4])[0] == 200


def test_who_waits_too_long_is_told_and_finds_it_made_later(slow, monkeypatch):
    monkeypatch.setattr(slow.delivery, "_patience_s", 0.05)
    status, headers, _ = slow.ask(SHARD)
    assert status == 503 and int(headers["Retry-After"]) >= 1
    monkeypatch.setattr(slow.delivery, "_patience_s", 30)
    slow.gate.set()
    assert slow.ask(SHARD)[0] == 200
    assert slow.begun == [5]


def test_a_failed_render_is_500_before_the_first_byte_and_is_tried_anew(slow, monkeypatch):
    slow.gate.set()
    good = slow.delivery.rendered.samples.begin

    def broken(start, stop):
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(slow.delivery.rendered.samples, "begin", broken)
    for _ in range(3):
        status, headers, body = slow.ask(SHARD)
        assert status == 500 and "cannot be made (RuntimeError)" in json.loads(body)["error"]
        assert "ETag" not in headers
    assert slow.count("errors_total", kind="shard") == 3
    assert slow.ask("/readyz")[0] == 503 and slow.ask("/healthz")[0] == 200
    monkeypatch.setattr(slow.delivery.rendered.samples, "begin", lambda start, stop: lambda: 1 / 0)
    assert "ZeroDivisionError" in json.loads(slow.ask(SHARD)[2])["error"]
    monkeypatch.setattr(slow.delivery.rendered.samples, "begin", good)
    assert slow.ask(SHARD)[0] == 200 and slow.ask("/readyz")[0] == 200


def test_previews_do_not_wait_behind_shards(slow, monkeypatch):
    begin = slow.delivery.previews.begin
    monkeypatch.setattr(
        slow.delivery.previews, "begin", lambda look: slow.begun.append("preview") or begin(look)
    )
    paths = [f"/v1/sets/synthetic/shard-{number:06d}.tar" for number in range(3)]
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(slow.ask, paths[0])]
        wait_until(lambda: slow.begun == [0])
        answers += [pool.submit(slow.ask, path) for path in paths[1:]]
        wait_until(lambda: slow.count("queue") == 2)
        answers.append(pool.submit(slow.ask, "/v1/preview.png?seed=99"))
        wait_until(lambda: slow.count("queue") == 3)
        slow.gate.set()
        assert [answer.result()[0] for answer in answers] == [200] * 4
    assert slow.begun[:2] == [0, "preview"] and len(slow.begun) == 4


def test_keys_follow_from_everything_that_determines_the_bytes(service, tmp_path):
    def keys(**changes):
        folder = tmp_path / "-".join(map(str, changes.values()))
        delivery = make_delivery(serve_options(folder, **changes))
        return [entry.key for entry in delivery.rendered.manifest.shards]

    ours = [entry.key for entry in service.delivery.rendered.manifest.shards]
    assert len(set(ours)) == len(ours)
    assert keys(render_batch=7) == ours
    # How many samples there are changes the last shard alone.
    assert keys(synthetic_samples=20) == ours[:4]
    for changes in ({"seed": 1}, {"preset": "t2"}, {"samples_per_shard": 4}):
        assert not set(keys(**changes)) & set(ours)

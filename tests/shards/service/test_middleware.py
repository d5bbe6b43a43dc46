"""Who may send requests, and how many: the token, the address, the limits."""

import asyncio
import http.client
import json
import logging
import threading

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from service_thread import TOKEN, running, serve_options

from synthspine.shards.building.options import ShardOptions
from synthspine.shards.service import middleware
from synthspine.shards.service.metrics import Metrics
from synthspine.shards.service.options import ServeOptions
from synthspine.shards.service.responses import ShardResponse
from synthspine.shards.storage.auth import TOKEN_VARIABLE
from synthspine.shards.storage.cache import CachedShard

PROTECTED = (
    "/v1/sets",
    "/v1/sets/synthetic/manifest.json",
    "/v1/sets/synthetic/shard-000000.tar",
    "/v1/config",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(serve_options(tmp_path_factory.mktemp("service"), requests=4), TOKEN) as service:
        yield service


@pytest.mark.parametrize("path", [*PROTECTED, "/v1/preview.png", "/metrics", "/v1/nothing"])
def test_data_needs_the_token(service, path):
    for wrong in (
        {},
        *({"Authorization": value} for value in ("", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x")),
    ):
        status, headers, body = service.ask(path, **wrong)
        assert status == 401 and headers["WWW-Authenticate"] == 'Bearer realm="synthspine"'
        assert TOKEN not in body.decode()
    assert service.ask(path, Authorization=f"Bearer {TOKEN}")[0] in (200, 404)


def test_the_page_and_health_need_no_token_and_hold_no_data(service):
    for path in ("/", "/docs", "/page/page.js", "/page/page.css", "/healthz", "/readyz", "/openapi.json"):
        assert service.ask(path)[0] == 200


@pytest.mark.parametrize(
    "path", ["/page/../serve.py", "/page/%2e%2e/options.py", "/page/nothing.js", "/other"]
)
def test_nothing_but_the_page_lies_beside_it(service, path):
    assert service.ask(path)[0] == 404


def test_tokens_are_compared_in_constant_time(service, monkeypatch):
    compared = []
    real = middleware.secrets.compare_digest
    monkeypatch.setattr(
        middleware.secrets, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b)
    )
    assert service.ask("/v1/sets", Authorization="Bearer guess")[0] == 401
    assert compared == [(b"guess", TOKEN.encode())]


def test_a_token_that_is_no_text_is_refused(service):
    assert service.ask("/v1/sets", Authorization="Bearer \xff\xfe")[0] == 401


def test_requests_with_a_body_or_too_long_are_refused(service):
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=20)
    connection.request("GET", "/v1/sets", body=b"x" * 10, headers={"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    assert answer.status == 413 and "body" in json.loads(answer.read())["error"]
    connection.close()
    status, _, body = service.ask(f"/v1/preview.png?seed={'1' * 5000}", Authorization=f"Bearer {TOKEN}")
    assert status == 414 and "4096" in json.loads(body)["error"]
    assert service.count("refused_total", reason="body") == 1
    assert service.count("refused_total", reason="too long") == 1


@pytest.mark.parametrize("length", [20_000, 70_000])
def test_headers_that_are_too_long_are_refused(service, length):
    assert service.ask("/healthz", X_Long="x" * length)[0] in (400, 431)
    assert service.ask("/healthz", X_Long="x" * 10_000)[0] == 200


def test_more_requests_than_allowed_are_told_to_come_again(tmp_path, monkeypatch):
    with running(serve_options(tmp_path, requests=2)) as fresh:
        gate, begin = threading.Event(), fresh.delivery.rendered.samples.begin
        monkeypatch.setattr(
            fresh.delivery.rendered.samples, "begin", lambda *span: gate.wait(20) and begin(*span)
        )
        path = "/v1/sets/synthetic/shard-000000.tar"
        threads = [threading.Thread(target=fresh.ask, args=(path,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        while fresh.count("requests_open") < 2:
            pass
        status, headers, _ = fresh.ask(path)
        assert status == 503 and int(headers["Retry-After"]) >= 1
        assert fresh.ask("/healthz")[0] == 200
        gate.set()
        for thread in threads:
            thread.join(30)
        while fresh.count("requests_open") > 0:
            pass
        assert fresh.ask(path)[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "gpu-box", "", "example.org"])
def test_without_a_token_it_is_not_opened_to_others(host, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(
        ValueError, match=rf"host {host}: other machines can reach it, so a token is needed; set SYNTH"
    ):
        ServeOptions(host=host).token()
    monkeypatch.setenv(TOKEN_VARIABLE, "  ")
    with pytest.raises(ValueError, match="token is needed"):
        ServeOptions(host=host).token()
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert ServeOptions(host=host).token() == TOKEN


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_this_machine_alone_no_token_is_needed_but_one_that_is_set_counts(host, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert ServeOptions(host=host).token() is None
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert ServeOptions(host=host).token() == TOKEN


def test_a_token_file_goes_before_the_environment_and_short_tokens_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "another-one-in-the-environment")
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert ServeOptions(token_file=file).token() == TOKEN
    for short in ("", "short", "a token with many spaces", "zeichen-mit-ümläuten"):
        file.write_text(short)
        with pytest.raises(ValueError, match=r"token: a token has 16 or more letters, digits and signs"):
            ServeOptions(token_file=file).token()
    with pytest.raises(OSError):
        ServeOptions(token_file=tmp_path / "nothing").token()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"port": 70000}, "port 70000 is outside 0..65535"),
        ({"waiting": 0}, "waiting 0 must be at least 1"),
        ({"patience_s": 0.0}, "patience_s 0.0 must be more than 0"),
        ({"also": ("synthetic",)}, "synthetic is not a stored set; there are labels"),
        (
            {"shards": ShardOptions(synthetic_samples=10**9)},
            "make 15,625,000 shards; at most 100,000 are served",
        ),
    ],
)
def test_choices_that_cannot_be_are_named(changes, text):
    with pytest.raises(ValueError, match=text):
        ServeOptions(**changes)


def test_the_token_is_in_no_log(service, caplog):
    with caplog.at_level(logging.DEBUG):
        service.ask("/v1/sets", Authorization=f"Bearer {TOKEN}")
        service.ask("/v1/preview.png?map=x", Authorization=f"Bearer {TOKEN}")
    assert TOKEN not in caplog.text


def test_a_client_that_accepts_nothing_is_disconnected(tmp_path):
    path, sent = tmp_path / "shard", []
    path.write_bytes(b"x" * 3_000_000)
    shard = CachedShard(path.open("rb"), 3_000_000, "0" * 64)
    path.unlink()
    response, metrics = ShardResponse(shard, {"ETag": '"a"'}), Metrics()
    app = middleware.RequestChecks(response, metrics, requests=1, stall_s=0.05, token=None)
    scope = {"type": "http", "method": "GET", "path": "/v1/x", "query_string": b"", "headers": []}

    async def send(message):
        if len(sent) == 3:
            await asyncio.sleep(20)
        sent.append(message)

    with pytest.raises(TimeoutError):
        asyncio.run(app(scope, asyncio.Event().wait, send))
    assert shard.file.closed and sent[0]["type"] == "http.response.start"
    assert metrics.registry.get_sample_value("synthspine_sent_bytes_total") == 2 * 2**20

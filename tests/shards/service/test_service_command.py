"""The command: start, stop, and what a reader notices of a kill."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from service_program import ROOT, Program
from service_thread import TOKEN, ask, running, serve_options

from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.reading.open import open_set
from synthspine.shards.service.running import serve
from synthspine.shards.storage.auth import TOKEN_VARIABLE

pytestmark = pytest.mark.timeout(900)

LONG = {"synthetic_samples": 320, "samples_per_shard": 4}
"""80 shards, five windows of the reader."""


def test_a_port_that_is_taken_is_named(tmp_path):
    with running(serve_options(tmp_path / "one")) as service:
        port = int(service.url.rpartition(":")[2])
        with pytest.raises(OSError, match=rf"127\.0\.0\.1, port {port}: cannot listen there"):
            serve(replace(serve_options(tmp_path / "two"), port=port))


def test_drained_means_that_what_was_begun_is_answered(tmp_path, monkeypatch):
    path = "/v1/sets/synthetic/shard-000000.tar"
    with running(serve_options(tmp_path)) as service, ThreadPoolExecutor(1) as pool:
        gate, begun, begin = threading.Event(), threading.Event(), service.delivery.rendered.samples.begin
        monkeypatch.setattr(
            service.delivery.rendered.samples,
            "begin",
            lambda *span: begun.set() or (gate.wait(20) and begin(*span)),
        )
        answer = pool.submit(service.ask, path)
        assert begun.wait(20)
        service.server.should_exit = True
        deadline = time.monotonic() + 20
        while service.server.servers and any(server.is_serving() for server in service.server.servers):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        gate.set()
        status, headers, body = answer.result(30)
        assert status == 200 and len(body) == int(headers["Content-Length"]) > 10_000


@pytest.mark.slow
def test_the_command_serves_what_the_other_command_writes_and_ends_well_after_sigterm(tmp_path):
    options = serve_options(tmp_path)
    with Program(options) as program:
        program.wait()
        served = [ask(f"{program.url}/v1/sets/synthetic/shard-{number:06d}.tar")[2] for number in range(5)]
        assert program.end(signal.SIGTERM) == 0 and program.output[-1] == "stopped\n"
    shards, written = options.shards, tmp_path / "written"
    command = [
        *(sys.executable, ROOT / "shards/main.py", "--sets", "synthetic", "--shards-dir", written),
        *("--data-dir", shards.data_dir, "--spacing-mm", 2.0, "--shape", 64, 48, "--device", "cpu"),
        *("--samples-per-shard", 5, "--synthetic-samples", 23, "--render-batch", 16),
    ]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, cwd=ROOT)
    assert served == [path.read_bytes() for path in sorted((written / "synthetic").glob("*.tar"))]


@pytest.mark.slow
def test_the_command_does_not_open_itself_to_the_world(tmp_path):
    without = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    options = serve_options(tmp_path)
    with Program(options, "--host", "0.0.0.0", environment=without) as program:
        assert program.process.wait(200) == 1
        program._reader.join(10)
        assert "error: host 0.0.0.0: other machines can reach it, so a token is needed" in "".join(
            program.output
        )
    with Program(options, "--host", "0.0.0.0", environment=without | {TOKEN_VARIABLE: TOKEN}) as program:
        program.wait()
        assert ask(f"{program.url}/v1/sets")[0] == 401
        assert ask(f"{program.url}/v1/sets", Authorization=f"Bearer {TOKEN}")[0] == 200
        # A shell that starts it in the background has it ignore what Ctrl-C sends, once it has ended.
        assert program.end(signal.SIGINT) in (0, 130)
        assert TOKEN not in "".join(program.output)


@pytest.mark.slow
def test_a_reader_survives_that_the_service_is_killed_and_started_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHSPINE_CACHE", str(tmp_path / "cache"))
    options = serve_options(tmp_path, **LONG)
    written = open_set(ensure_sets(["synthetic"], options.shards)["synthetic"])
    with Program(options) as first:
        first.wait()
        port = int(first.url.rpartition(":")[2])
        shards = open_set(f"{first.url}/v1/sets/synthetic")
        seen = []
        for sample in shards.stream(seed=1, stop=320):
            seen.append(sample.key)
            if len(seen) == 70:
                assert first.end(signal.SIGKILL) == -signal.SIGKILL
                second = Program(options, port=port)
    with second:
        assert sorted(seen) == [sample.key for sample in written.samples()]
        assert seen == [sample.key for sample in written.stream(seed=1, stop=320)]


@pytest.mark.slow
def test_model_a_is_trained_from_the_url_as_from_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHSPINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    options = serve_options(tmp_path)
    ensure_sets(["labels", "labels_val", "synthetic"], options.shards)

    def train(where, name):
        command = [
            *(sys.executable, ROOT / "train/main.py", "--model", "A"),
            *("--feed", "shards", "--shards-dir", where),
            *("--save-dir", tmp_path / name, "--epochs", 1, "--num-classes", 4, "--device", "cpu"),
            *("--spacing-mm", 2.0, "--shape", 64, 48, "--samples-per-shard", 5),
            *("--synthetic-samples", 23, "--no-tensorboard", "--validation-samples", 4),
        ]
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, cwd=tmp_path, timeout=500
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return (tmp_path / name / "model_a_synthetic_log.csv").read_text()

    with running(options, TOKEN) as service:
        log = train(service.sets, "from_url")
    columns = log.splitlines()[0].split(",")
    assert losses(log, columns) == losses(train(options.shards.shards_dir, "from_folder"), columns)


def losses(log, columns):
    """Values of a log that do not depend on time."""
    rows = [line.split(",") for line in log.splitlines()[1:]]
    kept = [number for number, name in enumerate(columns) if "loss" in name or "dice" in name]
    assert kept and rows
    return [[row[number] for number in kept] for row in rows]

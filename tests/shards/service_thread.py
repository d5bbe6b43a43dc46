"""The service in a thread of the test, over a small folder of block spines, and a client for it."""

import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import uvicorn

from synthspine.shards.building.options import ShardOptions
from synthspine.shards.readers.slices import Grid
from synthspine.shards.readers.spider import write_mha
from synthspine.shards.service.delivery import Delivery
from synthspine.shards.service.options import ServeOptions
from synthspine.shards.service.running import listening, make_delivery, make_server

SHAPE = (5, 60, 48)
SPACING_MM = (4.0, 2.0, 1.5)
TOKEN = "a-token-of-many-letters"


def block_spines(folder, patients=5):
    """Masks of block spines in SPIDER layout."""
    for patient in range(1, patients + 1):
        mask = np.zeros(SHAPE, dtype=np.int16)
        for number in range(1, 4 + patient % 2):
            bottom = SHAPE[1] - 8 - 12 * (number - 1)
            mask[1:-1, bottom - 8 : bottom, 16:26] = number
            mask[1:-1, bottom : bottom + 3, 16:26] = 200 + number
        mask[2, 6:-4, 27:31] = 100
        write_mha(mask, SPACING_MM, "PIR", folder / "masks" / f"{patient}_t1.mha")
    return folder


def serve_options(folder, **changes):
    """Choices for a small service: 23 samples, 5 in a shard."""
    shards = ShardOptions(
        data_dir=block_spines(folder / "spider"),
        shards_dir=str(folder / "sets"),
        grid=Grid(spacing_mm=2.0, shape=(64, 48)),
        samples_per_shard=5,
        synthetic_samples=23,
        render_batch=4,
        device="cpu",
    )
    own = {name: changes.pop(name) for name in list(changes) if name in ShardOptions.__dataclass_fields__}
    defaults = {"port": 0, "cache_dir": folder / "rendered", "shards": replace(shards, **own)}
    return ServeOptions(**(defaults | changes))


@dataclass
class Running:
    url: str
    delivery: Delivery
    options: ServeOptions
    server: uvicorn.Server

    @property
    def sets(self):
        return f"{self.url}/v1/sets"

    def ask(self, path, method="GET", **headers):
        """Status, headers and body of an answer; underscores in names of headers stand for hyphens."""
        return ask(self.url + path, method, **headers)

    def count(self, name, **labels):
        """Value of a counter."""
        return self.delivery.metrics.registry.get_sample_value(f"synthspine_{name}", labels) or 0


def ask(url, method="GET", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, method=method, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


@contextmanager
def running(options, token=None, extra=None):
    """A service that answers; at the end it is drained."""
    with listening(options) as listener:
        delivery = make_delivery(options)
        server = make_server(delivery, options, token, extra)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        service = Running(f"http://127.0.0.1:{listener.getsockname()[1]}", delivery, options, server)
        deadline = time.monotonic() + 60
        while service.ask("/readyz")[0] != 200:
            assert time.monotonic() < deadline, delivery.not_ready()
            time.sleep(0.02)
        try:
            yield service
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def wait_until(true, seconds=20):
    """Return when ``true()`` holds; fail after some seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)

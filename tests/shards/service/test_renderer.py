"""The owner of the device: one at a time, bounded, and an end that leaves nobody waiting."""

import asyncio
import threading

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from synthspine.shards.service.renderer import Busy, DeviceQueue, Stopped
from synthspine.shards.service.sending import ShardResponse
from synthspine.shards.storage.cache import CachedShard


@pytest.fixture
def landed():
    return []


@pytest.fixture
def queue(landed):
    queue = DeviceQueue(2, lambda quick, seconds, error: landed.append((quick, error)))
    yield queue
    queue.close()


class Gate:
    """A job that holds the device until it is opened."""

    def __init__(self):
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.open.wait(20)
        return lambda: "through"


def test_one_thread_begins_everything_and_others_finish_it(queue):
    owners, others = set(), set()

    def begin():
        owners.add(threading.current_thread().name)
        return lambda: others.add(threading.current_thread().name)

    for done in [queue.submit(str(number), begin, quick=number % 2 == 0) for number in range(2)]:
        done.result(20)
    assert owners == {"device"} and "device" not in others


def test_the_same_key_is_one_job_until_it_has_landed(queue, landed):
    gate = Gate()
    first, second = queue.submit("a", gate), queue.submit("a", gate)
    gate.open.set()
    assert first is second and first.result(20) == "through" and len(landed) == 1
    assert queue.submit("a", lambda: lambda: "anew").result(20) == "anew"


def test_more_than_may_wait_is_refused_with_a_time(queue):
    gate = Gate()
    held = [queue.submit("held", gate)]
    assert gate.begun.wait(20)
    held += [queue.submit(name, lambda: lambda: 1) for name in "ab"]
    with pytest.raises(Busy, match="come again in") as told:
        queue.submit("c", lambda: lambda: 1)
    assert 1 <= told.value.retry_after_s <= 30
    # Quick jobs have places of their own.
    held.append(queue.submit("quick", lambda: lambda: 1, quick=True))
    gate.open.set()
    assert [done.result(20) for done in held] == ["through", 1, 1, 1]


def test_errors_reach_who_asked_and_the_next_job_runs(queue, landed):
    for begin in (lambda: 1 / 0, lambda: lambda: 1 / 0):
        with pytest.raises(ZeroDivisionError):
            queue.submit("bad", begin).result(20)
    assert queue.failures == 2
    assert queue.submit("good", lambda: lambda: 1).result(20) == 1
    assert queue.failures == 0
    assert [type(error) for _, error in landed] == [ZeroDivisionError, ZeroDivisionError, type(None)]


def test_at_the_end_what_waits_is_dropped_and_what_was_begun_is_finished():
    queue, gate = DeviceQueue(2, lambda *_: None), Gate()
    begun = queue.submit("begun", gate)
    assert gate.begun.wait(20)
    waiting = queue.submit("waiting", lambda: lambda: 1)
    threading.Timer(0.2, gate.open.set).start()
    threading.Thread(target=queue.close).start()
    with pytest.raises(Stopped):
        waiting.result(20)
    with pytest.raises(Stopped):
        queue.submit("late", lambda: lambda: 1)
    assert begun.result(20) == "through"


def response(path, size, stall_s, sent):
    shard = CachedShard(path.open("rb"), size, "0" * 64)
    return ShardResponse(shard, 200, {}, 0, size, stall_s=stall_s, sent=sent.append)


def test_a_client_that_takes_nothing_is_left(tmp_path):
    path, sent = tmp_path / "shard", []
    path.write_bytes(b"x" * 3_000_000)
    answer = response(path, 3_000_000, 0.05, sent)

    async def send(message):
        if message["type"] == "http.response.body" and len(sent) == 2:
            await asyncio.sleep(20)

    with pytest.raises(TimeoutError):
        asyncio.run(answer({"method": "GET"}, None, send))
    assert answer.shard.file.closed and len(sent) == 2 and sum(sent) < 3_000_000


def test_a_file_that_became_shorter_is_not_sent_as_if_it_were_whole(tmp_path):
    path, told = tmp_path / "shard", []
    path.write_bytes(b"x" * 1000)

    async def send(message):
        told.append(message)

    with pytest.raises(OSError, match="is shorter than it was"):
        asyncio.run(response(path, 2000, 5, [])({"method": "GET"}, None, send))
    assert told[0]["headers"] == [(b"content-length", b"2000")]
    assert all(message["more_body"] for message in told[1:])

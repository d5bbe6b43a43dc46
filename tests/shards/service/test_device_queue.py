"""The queue of the device: one job at a time, bounded, and a shutdown that leaves no request waiting."""

import asyncio
import threading

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from synthspine.shards.building.build import WRITERS
from synthspine.shards.service.device_queue import Busy, DeviceQueue, Stopped


@pytest.fixture
def counted():
    return []


def in_a_loop(work, counted=None):
    """Run a coroutine function with a queue of two places, which is closed at the end."""

    async def run():
        count = [] if counted is None else counted
        queue = DeviceQueue(2, lambda quick, seconds, error: count.append((quick, error)))
        try:
            return await asyncio.wait_for(work(queue), 30)
        finally:
            await queue.close()

    return asyncio.run(run())


class Gate:
    """A job that holds the device until it is opened."""

    def __init__(self):
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.open.wait(20)
        return lambda: "through"


async def begun(gate):
    assert await asyncio.to_thread(gate.begun.wait, 20)


def test_one_thread_begins_everything_and_others_finish_it():
    owners, others = set(), set()

    def begin():
        owners.add(threading.current_thread().name)
        return lambda: others.add(threading.current_thread().name)

    async def work(queue):
        await asyncio.gather(
            *(queue.submit(str(number), begin, quick=number % 2 == 0) for number in range(3))
        )

    in_a_loop(work)
    assert owners == {"device_0"} and not others & owners


def test_the_same_key_is_one_job_until_it_has_ended(counted):
    async def work(queue):
        gate = Gate()
        first, second = queue.submit("a", gate), queue.submit("a", gate)
        gate.open.set()
        assert first is second and await first == "through" and len(counted) == 1
        assert await queue.submit("a", lambda: lambda: "anew") == "anew"

    in_a_loop(work, counted)


def test_more_than_may_wait_is_refused_with_a_time():
    async def work(queue):
        gate = Gate()
        held = [queue.submit("held", gate)]
        await begun(gate)
        held += [queue.submit(name, lambda: lambda: 1) for name in "ab"]
        with pytest.raises(Busy, match="try again in") as told:
            queue.submit("c", lambda: lambda: 1)
        assert 1 <= told.value.retry_after_s <= 30 and queue.waiting == 2
        # Quick jobs have places of their own.
        held.append(queue.submit("quick", lambda: lambda: 1, quick=True))
        gate.open.set()
        assert await asyncio.gather(*held) == ["through", 1, 1, 1] and queue.waiting == 0

    in_a_loop(work)


def test_quick_jobs_run_before_shards_that_wait():
    async def work(queue):
        gate, order = Gate(), []
        jobs = [queue.submit("held", gate)]
        await begun(gate)
        for name in ("a", "b", "quick"):
            job = queue.submit(
                name, lambda name=name: order.append(name) or (lambda: 1), quick=name == "quick"
            )
            jobs.append(job)
            await asyncio.sleep(0.05)
        gate.open.set()
        await asyncio.gather(*jobs)
        return order

    assert in_a_loop(work) == ["quick", "a", "b"]


def test_quick_jobs_and_shards_take_turns():
    async def work(queue):
        queue._most = 100
        gate, order = Gate(), []
        jobs = [queue.submit("held", gate, quick=True)]
        await begun(gate)
        names = [*(f"quick {number}" for number in range(12)), "a", "b", "c"]
        for name in names:
            job = queue.submit(
                name, lambda name=name: order.append(name) or (lambda: 1), quick=name[0] == "q"
            )
            jobs.append(job)
        await asyncio.sleep(0.05)
        gate.open.set()
        await asyncio.gather(*jobs)
        return order

    order = in_a_loop(work)
    assert order[:6] == ["a", "quick 0", "b", "quick 1", "c", "quick 2"] and len(order) == 15


def test_a_job_that_nobody_waits_for_any_more_is_dropped(counted):
    async def work(queue):
        gate = Gate()
        held = queue.submit("held", gate)
        await begun(gate)
        jobs = [queue.submit("shared", lambda: lambda: "shared") for _ in range(2)]
        lonely = queue.submit("lonely", lambda: lambda: 1)
        for key in ("shared", "lonely", "held", "unknown"):
            queue.abandon(key)
        await asyncio.sleep(0.01)
        assert queue.waiting == 1 and lonely.cancelled()
        # It can be submitted again, and has begun all the same if it had begun.
        again = queue.submit("lonely", lambda: lambda: "again")
        gate.open.set()
        return await asyncio.gather(held, jobs[0], again)

    assert in_a_loop(work, counted) == ["through", "shared", "again"]
    assert [error for _, error in counted] == [None] * 3


def test_dropping_the_one_whose_turn_comes_passes_the_turn_on():
    async def work(queue):
        gate = Gate()
        queue.submit("held", gate)
        await begun(gate)
        queue.submit("a", lambda: lambda: 1)
        last = queue.submit("b", lambda: lambda: "b")
        await asyncio.sleep(0)
        # In the round of the loop in which the turn is given to it.
        line = queue._turns._lines[False]
        line[0].add_done_callback(lambda _: queue.abandon("a"))
        gate.open.set()
        return await last

    assert in_a_loop(work) == "b"


def test_no_more_shards_begin_than_can_be_finished():
    async def work(queue):
        gates, started = [Gate() for _ in range(3 * WRITERS)], []
        queue._most = len(gates)
        jobs = [
            queue.submit(str(number), lambda gate=gate: started.append(gate) or gate)
            for number, gate in enumerate(gates)
        ]
        await asyncio.sleep(0.3)
        most = len(started)
        for gate in gates:
            gate.open.set()
        await asyncio.gather(*jobs)
        return most

    assert in_a_loop(work) == 2 * WRITERS


def test_errors_reach_the_request_and_the_next_job_runs(counted):
    async def work(queue):
        for begin in (lambda: 1 / 0, lambda: lambda: 1 / 0):
            with pytest.raises(ZeroDivisionError):
                await queue.submit("bad", begin)
        assert queue.failures == 2
        assert await queue.submit("good", lambda: lambda: 1) == 1
        assert queue.failures == 0

    in_a_loop(work, counted)
    assert [type(error) for _, error in counted] == [ZeroDivisionError, ZeroDivisionError, type(None)]


def test_at_the_end_what_waits_is_dropped_and_what_was_begun_is_finished():
    async def work(queue):
        gate = Gate()
        held = queue.submit("held", gate)
        await begun(gate)
        waiting = queue.submit("waiting", lambda: lambda: 1)
        closing = asyncio.create_task(queue.close())
        await asyncio.sleep(0.05)
        gate.open.set()
        await closing
        with pytest.raises(Stopped):
            await waiting
        return await held

    assert in_a_loop(work) == "through"

"""Items are loaded once, in order, one ahead of their use."""

import threading
import time

import pytest

from synthspine.shards.reading.prefetch import Prefetcher, prefetch


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_next_item_is_loaded_while_one_is_used_and_no_further_one():
    loaded = []
    stream = prefetch([1, 2, 3], lambda item: loaded.append(item) or 10 * item)
    item, value = next(stream)
    assert (item, value.result()) == (1, 10)
    # A generator runs on demand: the second item is begun when the first is handed on.
    wait_for(lambda: len(loaded) == 2)
    assert loaded == [1, 2]
    assert [(item, value.result()) for item, value in stream] == [(2, 20), (3, 30)]
    assert loaded == [1, 2, 3]


def test_no_items_give_nothing():
    assert list(prefetch([], int)) == []


def test_an_error_belongs_to_its_item():
    values = dict(prefetch(["1", "x", "3"], int))
    assert values["3"].result() == 3
    with pytest.raises(ValueError, match="invalid literal"):
        values["x"].result()


def test_closing_drops_what_is_not_begun_and_waits_for_what_is():
    begun, released, finished = threading.Event(), threading.Event(), []

    def load(item):
        begun.set()
        released.wait(10)
        finished.append(item)

    loader = Prefetcher(load, name="test")
    loader.begin(1)
    loader.begin(2)
    assert begun.wait(10)
    threading.Timer(0.05, released.set).start()
    loader.close(wait=True)
    assert finished == [1]
    assert not any(thread.name.startswith("test") for thread in threading.enumerate())


def test_threads_that_have_nothing_to_do_are_gone_when_the_items_are():
    assert [value.result() for _, value in prefetch([1, 2], lambda item: item)] == [1, 2]
    assert not any(thread.name.startswith("prefetch") for thread in threading.enumerate())


def test_closing_does_not_wait_for_a_load_that_hangs(monkeypatch):
    monkeypatch.setattr("synthspine.shards.reading.prefetch.GRACE_S", 0.1)
    released = threading.Event()
    loader = Prefetcher(lambda item: released.wait(10), name="hang")
    loader.begin(1)
    began = time.monotonic()
    loader.close()
    assert time.monotonic() - began < 5
    released.set()

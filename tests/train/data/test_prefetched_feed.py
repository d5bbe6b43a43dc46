"""A prefetched feed gives the batches of the feed itself."""

import threading
import time

import pytest
import torch

from synthspine.train.data.feed import PrefetchedFeed

CPU = torch.device("cpu")


class Numbers:
    """The batch of a step is its number; which steps were requested, and by whom."""

    def __init__(self, device=CPU):
        self.device, self.requested, self.threads = device, [], set()

    def batch(self, step):
        self.requested.append(step)
        self.threads.add(threading.current_thread())
        if step == 13:
            raise RuntimeError("step 13 is unlucky")
        return torch.full((2, 1), float(step), device=self.device), torch.full((2,), step, device=self.device)


@pytest.fixture
def prefetched():
    numbers = Numbers()
    feed = PrefetchedFeed(numbers, CPU)
    yield numbers, feed
    feed.close()


def test_steps_in_order_are_begun_once_each_and_early(prefetched):
    numbers, feed = prefetched
    assert [int(feed.batch(step)[1][0]) for step in range(4)] == [0, 1, 2, 3]
    feed.close()
    # The one after the last may have been dropped before it was begun.
    assert numbers.requested in ([0, 1, 2, 3], [0, 1, 2, 3, 4])
    assert threading.main_thread() not in numbers.threads


def test_the_next_batch_is_begun_while_this_one_is_used(prefetched):
    numbers, feed = prefetched
    feed.batch(0)
    deadline = time.monotonic() + 10
    while numbers.requested != [0, 1]:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_jump_gives_the_batch_of_its_step(prefetched):
    _, feed = prefetched
    assert [int(feed.batch(step)[1][0]) for step in (5, 2, 3, 3)] == [5, 2, 3, 3]


def test_an_error_comes_at_the_step_that_needs_the_batch(prefetched):
    _, feed = prefetched
    assert int(feed.batch(12)[1][0]) == 12
    with pytest.raises(RuntimeError, match="step 13 is unlucky"):
        feed.batch(13)
    assert int(feed.batch(14)[1][0]) == 14


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batches_are_whole_when_the_network_reads_them():
    device = torch.device("cuda", torch.cuda.current_device())
    feed = PrefetchedFeed(Numbers(device), device)
    for step in range(12):
        images, codes = feed.batch(step)
        torch.cuda._sleep(1_000_000)
        assert bool((images == step).all()) and bool((codes == step).all())
    feed.close()

"""Ways of training are compared with the network alone in the same round; prefetched work is not timed."""

from contextlib import contextmanager
from itertools import count

from benchmarks.timing import Times
from benchmarks.training import rows, training


def test_shares_are_those_of_the_same_round():
    alone = Times(name="(a)", wall_s=[1.0, 2.0, 4.0])
    other = Times(name="(b)", wall_s=[2.0, 4.0, 4.0])
    assert rows([alone, other], 8) == [
        ["(a)", "4.0", "2.0", "8.0", "100 %", "100 %", "100 %"],
        ["(b)", "2.0", "2.0", "4.0", "50 %", "50 %", "100 %"],
    ]


def test_a_run_takes_steps_in_order_and_waits_for_as_many_batches():
    events = []

    class Stepper:
        def take(self, step, batch):
            events.append(("take", step, batch))

    class Feed:
        def batch(self, step):
            events.append(("batch", step))
            return (f"batch {step}",)

    @contextmanager
    def open_feed():
        yield Feed()
        events.append(("closed",))

    with training(Stepper(), open_feed, count(5), 2) as take_steps:
        assert events == [("batch", 5)]
        take_steps()
        assert events[1:] == [("take", 5, "batch 5"), ("batch", 6), ("take", 6, "batch 6"), ("batch", 7)]
    assert events[-1] == ("closed",)

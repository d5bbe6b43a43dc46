import os
import signal
from contextlib import suppress

import pytest

from synthspine.train.runtime.stop import TrainingStopped, watch_for_stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_and_the_earlier_handlers_come_back(number):
    before = signal.getsignal(number)
    with watch_for_stop() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
    assert signal.getsignal(number) is before


def test_a_second_interrupt_aborts():
    with watch_for_stop():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_torchrun_may_send_a_signal_twice(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with watch_for_stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_block_without_state_at_once_and_asks_after_it(number):
    done = []
    with watch_for_stop() as stop:
        with pytest.raises(TrainingStopped, match="told"), stop.interrupts("told"):
            os.kill(os.getpid(), number)
            done.append("more")
        assert stop.requested and not done
        with pytest.raises(TrainingStopped, match="at once"), stop.interrupts("at once"):
            done.append("more")
    assert not done
    with watch_for_stop() as stop:
        with stop.interrupts("told"):
            pass
        os.kill(os.getpid(), number)
        assert stop.requested


def test_a_second_signal_of_torchrun_does_not_break_into_the_clearing_up(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    cleared = []
    with watch_for_stop() as stop, pytest.raises(TrainingStopped), stop.interrupts("told"):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleared.append("all")
    assert cleared == ["all"]


def test_an_interrupt_that_nobody_asked_for_stays_one():
    with watch_for_stop() as stop, pytest.raises(KeyboardInterrupt), stop.interrupts("told"):
        raise KeyboardInterrupt


def test_signals_after_the_last_work_of_a_process_are_ignored_until_it_ends():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for stopped in (False, True):
            with suppress(TrainingStopped), watch_for_stop(ends_process=True):
                if stopped:
                    raise TrainingStopped("saved")
            assert all(signal.getsignal(number) is signal.SIG_IGN for number in before)
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_process_that_ends_with_an_error_can_be_ended_by_signals():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(OSError), watch_for_stop(ends_process=True):
        raise OSError("full")
    assert signal.getsignal(signal.SIGTERM) is before

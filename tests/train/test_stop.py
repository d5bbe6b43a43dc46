import os
import signal

import pytest

from train.stop import watch_for_stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_and_the_earlier_handlers_come_back(number):
    before = signal.getsignal(number)
    with watch_for_stop() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked
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
        assert stop.asked

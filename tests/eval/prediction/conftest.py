import pytest

from synthspine.eval.prediction import prediction
from synthspine.eval.prediction.worker import Worker


class Shared:
    """The worker of all tests, because its start takes seconds."""

    def __init__(self, worker):
        self.worker = worker

    def __enter__(self):
        return self.worker

    def __exit__(self, *error):
        pass


@pytest.fixture(scope="session")
def worker():
    with Worker() as worker:
        yield worker


@pytest.fixture(autouse=True)
def one_worker(worker, monkeypatch):
    monkeypatch.setattr(prediction, "Worker", lambda: Shared(worker))

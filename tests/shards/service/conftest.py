import threading

import pytest


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    pytest.importorskip("fastapi", reason="the service needs the extra serve")
    from service_thread import running, serve_options

    with running(serve_options(tmp_path_factory.mktemp("service"))) as service:
        yield service


@pytest.fixture
def slow(service, monkeypatch, tmp_path):
    """A fresh service whose renders wait until they are let go."""
    from service_thread import running, serve_options

    with running(serve_options(tmp_path, waiting=3, patience_s=10)) as fresh:
        gate, begun = threading.Event(), []
        begin = fresh.delivery.rendered.samples.begin

        def held(start, stop):
            begun.append(start)
            assert gate.wait(30)
            return begin(start, stop)

        monkeypatch.setattr(fresh.delivery.rendered.samples, "begin", held)
        fresh.gate, fresh.begun = gate, begun
        yield fresh
        gate.set()

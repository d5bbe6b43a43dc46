"""Metrics of the service for Prometheus."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Metrics:
    """Counters of one service; services of one process share nothing."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._common: dict[str, Any] = {"namespace": "synthspine", "registry": self.registry}
        common, timed = self._common, self._common | {"buckets": _SECONDS}
        self.requests = Counter("requests", "Answered requests", ["route", "status"], **common)
        self.seconds = Histogram("request_seconds", "Time until the response was sent", ["route"], **timed)
        self.render = Histogram(
            "render_seconds", "Time to make and store a shard, or to render a preview", ["kind"], **timed
        )
        self.errors = Counter("errors", "Renders that failed", ["kind"], **common)
        self.refused = Counter("refused", "Refused requests", ["reason"], **common)
        self.hits = Counter("cache_hits", "Shards found in the disk cache", **common)
        self.misses = Counter("cache_misses", "Shards that had to be made", **common)
        self.sent = Counter("sent_bytes", "Bytes of all responses", **common)

    def count_render(self, quick: bool, seconds: float, error: Exception | None) -> None:
        """Count a render: quick for a preview, otherwise of a shard."""
        kind = "preview" if quick else "shard"
        if error is None:
            self.render.labels(kind).observe(seconds)
        else:
            self.errors.labels(kind).inc()

    def add_gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a value that is read whenever the metrics are."""
        Gauge(name, text, **self._common).set_function(value)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

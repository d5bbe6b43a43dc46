"""What the service tells Prometheus about itself."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Measures:
    """Counters of one service; nothing is shared between services of a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "synthspine_requests", "Answered requests", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "synthspine_request_seconds",
            "Time until an answer was sent",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.render = Histogram(
            "synthspine_render_seconds",
            "Time to render, pack and keep a shard, or to render a preview",
            ["kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.errors = Counter("synthspine_errors", "Renders that failed", ["kind"], registry=self.registry)
        self.refused = Counter(
            "synthspine_refused", "Requests that were refused", ["reason"], registry=self.registry
        )
        self.hits = Counter("synthspine_cache_hits", "Shards found in the disk cache", registry=self.registry)
        self.misses = Counter("synthspine_cache_misses", "Shards that had to be made", registry=self.registry)
        self.sent = Counter("synthspine_sent_bytes", "Bytes of shards sent", registry=self.registry)

    def landed(self, quick: bool, seconds: float, error: Exception | None) -> None:
        """Count a render."""
        kind = "preview" if quick else "shard"
        if error is None:
            self.render.labels(kind).observe(seconds)
        else:
            self.errors.labels(kind).inc()

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Tell a value that is asked for when it is needed."""
        Gauge(f"synthspine_{name}", text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

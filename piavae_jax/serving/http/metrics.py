"""What Prometheus may know of a server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_USERS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one app, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "piavae_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self.seconds = Histogram(
            "piavae_request_seconds", "From headers to answer.", ("route",), buckets=_SECONDS, registry=registry
        )
        self.batch_users = Histogram("piavae_batch_users", "Users a batch.", buckets=_USERS, registry=registry)
        self.batch_seconds = Histogram(
            "piavae_batch_seconds", "Scoring and ranking of a batch.", buckets=_SECONDS, registry=registry
        )
        self.wait_seconds = Histogram(
            "piavae_wait_seconds", "A request's wait for its batch.", buckets=_SECONDS, registry=registry
        )
        self.waiting = Gauge("piavae_waiting", "Requests that wait for the model.", registry=registry)
        self.refused = Counter("piavae_overloads", "Requests refused as too many waited.", registry=registry)
        self.reloads = Counter("piavae_reloads", "Reloads of the run.", ("outcome",), registry=registry)
        self.loaded = Gauge("piavae_loaded_timestamp_seconds", "When the run was loaded.", registry=registry)

"""What a server counts, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
NOBODY = ""  # the label of requests for a model that there is not: names of clients are no labels


class Metrics:
    """Counters of one server.

    Attributes:
        requests: answered requests, by `api`, `method`, `model` and `code`.
        seconds: how long they took.
        loads: versions loaded, by `model` and `outcome`, "ready" or "failed".
        versions: 1 for each version that is served.
        answers: users answered at /recommend, by `model` and `source`: "list" and "vector" of
            Redis, "store", or "model" itself.
        fallbacks: how often the model stood in, by `source` and `reason`: "absent", "unreachable",
            "other_version", "other_form", "too_short".
        arms: answers to users in an arm of an experiment.
    """

    def __init__(self):
        self._registry = CollectorRegistry()
        made = {"registry": self._registry, "namespace": "tf_recall"}
        self.requests = Counter(
            "requests", "Requests answered", ["api", "method", "model", "code"], **made
        )
        self.seconds = Histogram(
            "request_seconds", "From request to answer", ["api", "method"], buckets=SECONDS, **made
        )
        self.loads = Counter("version_loads", "Versions loaded", ["model", "outcome"], **made)
        self.versions = Gauge("version_served", "Versions served", ["model", "version"], **made)
        self.answers = Counter("answers", "Where answers came from", ["model", "source"], **made)
        self.fallbacks = Counter(
            "fallbacks", "Sources passed over", ["model", "source", "reason"], **made
        )
        self.arms = Counter(
            "experiment_answers", "Answers to users in an arm", ["experiment", "arm"], **made
        )
        self._calls = Histogram(
            "batch_rows", "Rows that a call of a model answers", ["model"], buckets=ROWS, **made
        )
        self._joined = Counter("batched_requests", "Requests in them", ["model"], **made)
        self._model_seconds = Histogram(
            "model_seconds", "How long a call of a model takes", ["model"], buckets=SECONDS, **made
        )
        self._waiting = Gauge("waiting_rows", "Rows that wait for a model", **made)

    def batches(self, model: str) -> Callable[[int, int, float], None]:
        """What a batcher of a model tells of its calls."""
        rows, joined = self._calls.labels(model), self._joined.labels(model)
        seconds = self._model_seconds.labels(model)

        def observe(num_requests: int, num_rows: int, took: float) -> None:
            joined.inc(num_requests)
            rows.observe(num_rows)
            seconds.observe(took)

        return observe

    def watch(self, waiting: Callable[[], int]) -> None:
        """Has the number of waiting rows asked for when somebody reads the metrics."""
        self._waiting.set_function(waiting)

    def answered(self, api: str, method: str, model: str, code: str, seconds: float) -> None:
        """Counts a request."""
        self.requests.labels(api, method, model, code).inc()
        self.seconds.labels(api, method).observe(seconds)

    def text(self) -> bytes:
        """All of it in Prometheus' format."""
        return generate_latest(self._registry)

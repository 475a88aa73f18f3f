"""What the server has done, in the text form that Prometheus reads."""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from gendiff.commands.serve.batching import Batcher

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Upper ends of the bins of how long answers take."""


class ServiceMetrics:
    """Of one server. Calling it gives the text. `seconds` observes how long an answer has taken, by its status."""

    def __init__(self, batcher: Batcher) -> None:
        self._registry = CollectorRegistry()
        self.seconds = Histogram(
            "gendiff_request_seconds",
            "From a request for pictures to its whole answer",
            ["status"],
            registry=self._registry,
            buckets=SECONDS,
        )
        self._registry.register(_Totals(batcher))

    def __call__(self) -> bytes:
        return generate_latest(self._registry)


class _Totals:
    """Reads the batcher whenever Prometheus does."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    def collect(self) -> Iterator[Metric]:
        batcher, totals = self._batcher, self._batcher.totals
        yield GaugeMetricFamily("gendiff_pictures_waiting", "Pictures that have not begun", batcher.waiting)
        yield GaugeMetricFamily(
            "gendiff_pictures_drawing", "Pictures that have begun and are not finished", batcher.drawing
        )
        for name, help_text, value in (
            ("orders", "Requests that were queued", totals.requests),
            ("orders_full", "Requests that found no room", totals.full),
            ("orders_cancelled", "Requests whose client left before the end", totals.cancelled),
            ("orders_failed", "Requests that could not be drawn", totals.failed),
            ("pictures", "Pictures that were finished", totals.pictures),
            ("turns", "Calls of the program that takes steps", totals.turns),
            ("steps", "Steps of single pictures; divided by turns, how many are drawn together", totals.rows),
            ("turn_seconds", "Seconds of these calls", totals.spent),
        ):
            yield CounterMetricFamily(f"gendiff_{name}", help_text, value)

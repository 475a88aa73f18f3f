"""What the server has done, in the text form that Prometheus reads."""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from gendiff.commands.serve.request_scheduler import RequestScheduler

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Upper ends of the bins of how long answers take."""


class ServiceMetrics:
    """Of one server. Calling it gives the text. `seconds` observes how long an answer has taken, by its status."""

    def __init__(self, scheduler: RequestScheduler) -> None:
        self._registry = CollectorRegistry()
        self.seconds = Histogram(
            "gendiff_request_seconds",
            "From a request to its whole answer",
            ["status"],
            registry=self._registry,
            buckets=SECONDS,
        )
        self._registry.register(_Totals(scheduler))

    def __call__(self) -> bytes:
        return generate_latest(self._registry)


class _Totals:
    """Reads the scheduler whenever Prometheus does."""

    def __init__(self, scheduler: RequestScheduler) -> None:
        self._scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        scheduler, totals = self._scheduler, self._scheduler.totals
        results = scheduler.results
        words = results.capitalize()
        yield GaugeMetricFamily(f"gendiff_{results}_waiting", f"{words} that have not begun", scheduler.waiting)
        yield GaugeMetricFamily(
            f"gendiff_{results}_{scheduler.work}", f"{words} that have begun and are not finished", scheduler.active
        )
        for name, help_text, value in (
            ("orders", "Requests that were queued", totals.requests),
            ("orders_full", "Requests that found no room", totals.full),
            ("orders_cancelled", "Requests whose client left before the end", totals.cancelled),
            ("orders_failed", "Requests that could not be answered", totals.failed),
            (results, f"{words} that were finished", totals.results),
            ("turns", "Calls of the program that takes steps", totals.turns),
            ("steps", f"Steps of single {results}; divided by turns, how many share a turn", totals.rows),
            ("turn_seconds", "Seconds of these calls", totals.spent),
            ("guessed_tokens", "Tokens that were guessed", totals.guessed),
            ("accepted_tokens", "Of these, tokens that were right", totals.accepted),
        ):
            yield CounterMetricFamily(f"gendiff_{name}", help_text, value)

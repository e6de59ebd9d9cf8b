"""An engine watched through OpenTelemetry: latency, conflicts, events per commit, sizes, the oldest append in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sacho.errors import MissingExtra, SachoError
from sacho.storage.port import Storage
from sacho.storage.statistics import CommitReport, StorageStatistics

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation


def observe(storage: Storage, meter_provider: MeterProvider | None = None) -> None:
    """Report an engine's metrics, from now on, to a meter provider (the global one if none is given).

    `sacho.commit.duration` (s), `sacho.commit.appends`, `sacho.commit.events` are histograms, one value a commit;
    `sacho.appends`, `sacho.conflicts`, `sacho.events`, `sacho.commits` are counters; `sacho.log.size`, `sacho.wal.size`
    (bytes) and `sacho.append.oldest_in_flight` (s) are gauges. All carry the attribute `sacho.engine`.
    Raises MissingExtra where opentelemetry-api is not installed.
    """
    try:
        from opentelemetry import metrics
    except ImportError as error:
        raise MissingExtra("watching by OpenTelemetry", "otel") from error
    meter = metrics.get_meter("sacho", meter_provider=meter_provider)
    attributes = {"sacho.engine": storage.name}
    duration = meter.create_histogram("sacho.commit.duration", "s", "How long a commit took")
    appends = meter.create_histogram("sacho.commit.appends", "{append}", "How many appends shared a commit")
    events = meter.create_histogram("sacho.commit.events", "{event}", "How many events a commit wrote")

    def report(commit: CommitReport) -> None:
        duration.record(commit.seconds, attributes)
        appends.record(commit.appends, attributes)
        events.record(commit.events, attributes)

    storage.observe(report)

    def observed(fact: Callable[[StorageStatistics], float]) -> list[Any]:
        def callback(_: CallbackOptions) -> Iterable[Observation]:
            try:
                return [metrics.Observation(fact(storage.statistics()), attributes)]
            except SachoError:  # a closed engine has nothing to tell
                return []

        return [callback]

    counters: dict[str, Callable[[StorageStatistics], float]] = {
        "sacho.appends": lambda found: found.appends,
        "sacho.conflicts": lambda found: found.conflicts,
        "sacho.events": lambda found: found.events,
        "sacho.commits": lambda found: found.commits,
    }
    for name, fact in counters.items():
        meter.create_observable_counter(name, observed(fact))
    meter.create_observable_gauge("sacho.log.size", observed(lambda found: found.log_bytes), "By")
    meter.create_observable_gauge("sacho.wal.size", observed(lambda found: found.wal_bytes), "By")
    meter.create_observable_gauge(
        "sacho.append.oldest_in_flight", observed(lambda found: found.oldest_in_flight_seconds), "s"
    )

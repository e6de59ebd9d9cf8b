"""Engines watched through OpenTelemetry: latency, conflicts, events per commit, sizes, the oldest append in flight.

What an engine counts anyway is asked for when metrics are collected, so it costs an append nothing; three histograms
take one value a commit. A watched engine is not kept alive, and one that is closed has nothing more to tell.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary

from sacho.errors import MissingExtra, SachoError
from sacho.storage.port import Storage
from sacho.storage.statistics import CommitReport, StorageStatistics

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation

SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Bounds of the histogram of durations: from a commit in a page cache to one that waits out its timeout."""
COUNTS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0)

Name: TypeAlias = tuple[str, str]
"""What an engine is told apart by: its name and its log's id."""


class Fact(NamedTuple):
    """A fact of the statistics as an instrument. Engines of one log are put together by `combine`."""

    name: str
    unit: str
    description: str
    of: Callable[[StorageStatistics], float]
    combine: Callable[[float, float], float]


COUNTERS: Final = (
    Fact("sacho.appends", "{append}", "Appends accepted", lambda found: found.appends, operator.add),
    Fact("sacho.conflicts", "{append}", "Appends refused", lambda found: found.conflicts, operator.add),
    Fact("sacho.events", "{event}", "Events written", lambda found: found.events, operator.add),
    Fact("sacho.commits", "{commit}", "Commits", lambda found: found.commits, operator.add),
)
GAUGES: Final = (
    Fact("sacho.log.size", "By", "Size of the log", lambda found: found.log_bytes, max),
    Fact("sacho.wal.size", "By", "Size of the write-ahead log", lambda found: found.wal_bytes, max),
    Fact(
        "sacho.append.oldest_in_flight",
        "s",
        "For how long the oldest append has been under way",
        lambda found: found.oldest_in_flight_seconds,
        max,
    ),
)


def observe(storage: Storage, meter_provider: MeterProvider | None = None) -> None:
    """Report an engine's metrics, from now on, to a meter provider (the global one if none is given).

    Histograms, one value a commit: `sacho.commit.duration` (s), `sacho.commit.appends`, `sacho.commit.events`.
    Counters since the engine was opened: `sacho.appends`, `sacho.conflicts`, `sacho.events`, `sacho.commits`.
    Gauges: `sacho.log.size` and `sacho.wal.size` (bytes), `sacho.append.oldest_in_flight` (s). All carry the attributes
    `sacho.engine` and `sacho.log.id`. Any number of engines may be observed; one that is observed already stays so.

    Raises MissingExtra where opentelemetry-api is not installed; StorageError.
    """
    try:
        from opentelemetry import metrics
    except ImportError as error:
        raise MissingExtra("watching with OpenTelemetry", "otel") from error
    with _lock:
        watch = _watches.get(id(meter_provider))
        if watch is None:
            watch = Watch(metrics.get_meter("sacho", meter_provider=meter_provider), meter_provider)
            _watches[id(meter_provider)] = watch
        watch.add(storage)


class Watch:
    """The instruments of one meter provider, which take in all engines that it watches.

    There is one set of them because a provider hears only the first of several observable instruments of one name.
    """

    def __init__(self, meter: Meter, meter_provider: MeterProvider | None) -> None:
        self.meter_provider = meter_provider
        self._storages: WeakKeyDictionary[Storage, Name] = WeakKeyDictionary()
        self._duration = _histogram(meter, "sacho.commit.duration", "s", "How long a commit took", SECONDS)
        self._appends = _histogram(meter, "sacho.commit.appends", "{append}", "How many appends shared it", COUNTS)
        self._events = _histogram(meter, "sacho.commit.events", "{event}", "How many events it wrote", COUNTS)
        for fact in COUNTERS:
            meter.create_observable_counter(fact.name, [self._callback(fact)], fact.unit, fact.description)
        for fact in GAUGES:
            meter.create_observable_gauge(fact.name, [self._callback(fact)], fact.unit, fact.description)

    def add(self, storage: Storage) -> None:
        """Watch an engine, too."""
        if storage not in self._storages:
            name = self._storages[storage] = (storage.name, str(storage.identity.id))
            storage.observe(self._reporter(_attributes(name)))

    def _reporter(self, attributes: dict[str, str]) -> Callable[[CommitReport], None]:
        def report(commit: CommitReport) -> None:
            self._duration.record(commit.seconds, attributes)
            self._appends.record(commit.appends, attributes)
            self._events.record(commit.events, attributes)

        return report

    def _callback(self, fact: Fact) -> Callable[[CallbackOptions], Iterable[Observation]]:
        from opentelemetry.metrics import Observation

        def observations(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, _attributes(name)) for name, value in self._values(fact).items()]

        return observations

    def _values(self, fact: Fact) -> dict[Name, float]:
        with _lock:
            storages = list(self._storages.items())
        values: dict[Name, float] = {}
        for storage, name in storages:
            try:
                value = fact.of(storage.statistics())
            except (SachoError, OSError):  # closed, forked, or its files are going just now: nothing to tell
                continue
            values[name] = fact.combine(values[name], value) if name in values else value
        return values


_lock = Lock()
_watches: WeakValueDictionary[int, Watch] = WeakValueDictionary()
"""By the provider's identity. The instruments keep their watch, and so the provider, for as long as they are in use."""


def _attributes(name: Name) -> dict[str, str]:
    engine, log_id = name
    return {"sacho.engine": engine, "sacho.log.id": log_id}


def _histogram(meter: Meter, name: str, unit: str, description: str, bounds: Sequence[float]) -> Histogram:
    return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)

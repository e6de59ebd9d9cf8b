"""An engine can be watched through OpenTelemetry."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import sacho
from sacho import NO_STREAM, EventStore, RawEvent
from sacho.errors import WrongExpectedVersion
from sacho.storage.telemetry import observe

COUNTERS = {"sacho.appends", "sacho.conflicts", "sacho.events", "sacho.commits"}
GAUGES = {"sacho.log.size", "sacho.wal.size", "sacho.append.oldest_in_flight"}
HISTOGRAMS = {"sacho.commit.duration", "sacho.commit.appends", "sacho.commit.events"}


class Watched:
    """A meter provider with a reader in memory."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        found = [] if data is None else data.resource_metrics
        return {
            metric.name: metric for resource in found for scope in resource.scope_metrics for metric in scope.metrics
        }

    def points(self, name: str) -> dict[str, Any]:
        """Return the data points of a metric, by the id of the log."""
        metric = self.metrics().get(name)
        return {} if metric is None else {point.attributes["sacho.log.id"]: point for point in metric.data.data_points}

    def only(self, name: str) -> Any:
        (point,) = self.points(name).values()
        return point


@pytest.fixture
def watched() -> Iterator[Watched]:
    found = Watched()
    yield found
    found.provider.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with sacho.connect(f"sqlite:///{tmp_path / 'log.db'}") as found:
        yield found


def test_appends_conflicts_and_events_are_counted(store: EventStore, watched: Watched) -> None:
    observe(store.storage, watched.provider)
    store.append("a-1", [RawEvent("A", 1), RawEvent("A", 2)], expected=NO_STREAM)
    with pytest.raises(WrongExpectedVersion):
        store.append("a-1", [RawEvent("A", 3)], expected=NO_STREAM)
    assert [watched.only(f"sacho.{name}").value for name in ("appends", "conflicts", "events", "commits")] == [
        1,
        1,
        2,
        2,
    ]


def test_each_commit_gives_its_duration_and_how_much_it_took_in(store: EventStore, watched: Watched) -> None:
    observe(store.storage, watched.provider)
    store.append("a-1", [RawEvent("A", 1), RawEvent("A", 2)])
    store.append("a-1", [RawEvent("A", 3)])
    duration, appends, events = (watched.only(f"sacho.commit.{name}") for name in ("duration", "appends", "events"))
    assert (duration.count, appends.sum, events.sum) == (2, 2, 3)
    assert 0 < duration.min <= duration.max


def test_the_bounds_of_durations_tell_fast_commits_apart(store: EventStore, watched: Watched) -> None:
    observe(store.storage, watched.provider)
    store.append("a-1", [RawEvent("A", 1)])
    bounds = watched.only("sacho.commit.duration").explicit_bounds
    assert bounds[0] < 0.001
    assert bounds[-1] > 1


def test_sizes_and_the_age_of_the_oldest_append_are_told(store: EventStore, watched: Watched) -> None:
    observe(store.storage, watched.provider)
    store.append("a-1", [RawEvent("A", "x" * 10_000)])
    assert watched.only("sacho.log.size").value > 0
    assert watched.only("sacho.wal.size").value > 10_000
    assert watched.only("sacho.append.oldest_in_flight").value == 0


def test_an_append_that_waits_for_another_process_is_seen_to_grow_old(
    store: EventStore, watched: Watched, tmp_path: Path
) -> None:
    observe(store.storage, watched.provider)
    locking = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.readline(); c.execute('ROLLBACK'); c.close()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", locking, str(tmp_path / "log.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        future = store.submit("a-1", [RawEvent("A", 1)])
        while watched.only("sacho.append.oldest_in_flight").value < 0.05:
            assert not future.done()
        other.stdin.write("\n")
        other.stdin.flush()
        assert future.result(timeout=60)[0].version == 1
    assert watched.only("sacho.append.oldest_in_flight").value == 0


def test_names_kinds_units_and_descriptions_are_what_the_page_says(store: EventStore, watched: Watched) -> None:
    observe(store.storage, watched.provider)
    store.append("a-1", [RawEvent("A", 1)])
    found = watched.metrics()
    assert set(found) == COUNTERS | GAUGES | HISTOGRAMS
    assert all(found[name].data.is_monotonic for name in COUNTERS)
    assert all(metric.unit and metric.description for metric in found.values())
    page = (Path(__file__).parent.parent.parent / "docs/how-to/watch-with-opentelemetry.md").read_text(encoding="utf-8")
    assert [name for name in found if f"`{name}`" not in page] == []


def test_engine_and_log_are_named_by_attributes(store: EventStore, watched: Watched) -> None:
    observe(store.storage, watched.provider)
    store.append("a-1", [RawEvent("A", 1)])
    expected = {"sacho.engine": "sqlite", "sacho.log.id": str(store.identity.id)}
    for metric in watched.metrics().values():
        assert [dict(point.attributes) for point in metric.data.data_points] == [expected]


def test_several_engines_are_told_apart_at_one_provider(store: EventStore, watched: Watched) -> None:
    with sacho.connect("memory://") as other:
        observe(store.storage, watched.provider)
        observe(other.storage, watched.provider)
        store.append("a-1", [RawEvent("A", 1)])
        other.append_many([sacho.Append(f"a-{n}", [RawEvent("A", n)]) for n in range(3)])
        events = watched.points("sacho.events")
        assert {UUID(id): point.value for id, point in events.items()} == {store.identity.id: 1, other.identity.id: 3}


def test_two_engines_on_one_log_are_added_up(store: EventStore, watched: Watched) -> None:
    with sacho.connect(store.url) as other:
        observe(store.storage, watched.provider)
        observe(other.storage, watched.provider)
        store.append("a-1", [RawEvent("A", 1)])
        other.append("a-1", [RawEvent("A", 2)])
        assert watched.only("sacho.events").value == 2


def test_observing_again_counts_nothing_twice(store: EventStore, watched: Watched) -> None:
    observe(store.storage, watched.provider)
    observe(store.storage, watched.provider)
    store.append("a-1", [RawEvent("A", 1)])
    assert watched.only("sacho.commit.duration").count == 1
    assert watched.only("sacho.appends").value == 1


def test_two_providers_both_hear_of_one_engine(store: EventStore, watched: Watched) -> None:
    other = Watched()
    observe(store.storage, watched.provider)
    observe(store.storage, other.provider)
    store.append("a-1", [RawEvent("A", 1)])
    assert (watched.only("sacho.appends").value, other.only("sacho.appends").value) == (1, 1)
    other.provider.shutdown()


def test_a_closed_engine_is_silent_and_the_others_go_on(
    store: EventStore, watched: Watched, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sacho.connect(f"sqlite:///{tmp_path / 'other.db'}") as other:
        observe(other.storage, watched.provider)
    observe(store.storage, watched.provider)
    with caplog.at_level(logging.WARNING):
        store.append("a-1", [RawEvent("A", 1)])
        assert list(watched.points("sacho.appends")) == [str(store.identity.id)]
        store.close()
        assert watched.points("sacho.appends") == {}
    assert caplog.records == []


def test_appends_go_on_when_the_provider_was_shut_down(store: EventStore) -> None:
    gone = Watched()
    observe(store.storage, gone.provider)
    gone.provider.shutdown()
    assert store.append("a-1", [RawEvent("A", 1)]).version == 1


def test_an_engine_that_nobody_else_holds_is_let_go(watched: Watched) -> None:
    with sacho.connect("memory://") as short:
        observe(short.storage, watched.provider)
        engine = weakref.ref(short.storage)
    del short
    gc.collect()
    assert engine() is None


def test_without_a_provider_nothing_is_reported_and_nothing_fails(store: EventStore) -> None:
    observe(store.storage)
    assert store.append("a-1", [RawEvent("A", 1)]).version == 1


def test_without_opentelemetry_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import sacho; from sacho.errors import MissingExtra; from sacho.storage.telemetry import observe\n"
        "with sacho.connect('memory://') as store:\n"
        "    try: observe(store.storage)\n"
        "    except MissingExtra as error: print(error.extra, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("otel ")
    assert "pip install 'sacho[otel]'" in done.stdout


def test_an_observer_that_raises_does_not_make_an_append_fail(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("observer")

    with sacho.connect("memory://") as store:
        store.storage.observe(fail)
        assert store.append("a-1", [RawEvent("A", 1)]).version == 1
    assert "observer" in caplog.text

"""Sacho's processes: how soon the steps at their deadlines are recorded, and how many steps a second they take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from benchmarks.job import Job
from benchmarks.ours.logs import fresh
from sacho import Append, Envelope, Event, EventStore, call
from sacho.events import ProcessAdvanced
from sacho.reacting import (
    Application,
    Consumer,
    Delivery,
    Done,
    Moment,
    ProcessManager,
    Reaction,
    SetDeadline,
    handles,
    on_deadline,
    starts,
)

PATIENCE_SECONDS = 300.0
AT_ONCE = 500
A_SECOND = 10_000 / 60
"""How many are due in a second: 10,000 in a minute."""
SURELY_BEGUN_A_SECOND = 300
ALLOWED_SECONDS = 2.0


class Begun(Event, type="BenchmarkBegun"):
    key: str
    ends_at: datetime


class Nothing(msgspec.Struct, frozen=True):
    """A command that nobody sends."""


class Waiting(ProcessManager[bool]):
    """Waits for a time, and is done."""

    initial = False

    @starts(Begun, key="key")
    def begun(self, event: Begun, state: bool, moment: Moment) -> Iterator[Reaction]:
        yield SetDeadline("end", event.ends_at)

    @on_deadline("end")
    def ended(self, deadline: object, state: bool, moment: Moment) -> Iterator[Reaction]:
        yield Done()


class Recording(Consumer):
    """A plain consumer that appends one event for each that it is given."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    @handles(Begun)
    def begun(self, event: Begun, delivery: Delivery) -> None:
        self._store.append(f"recorded-{event.key}", [Ended(event.key)])


class Ended(Event, type="BenchmarkEnded"):
    key: str


def in_time(job: Job) -> float:
    """Share of the deadlines, 10,000 in a minute, whose step is recorded within two seconds of their time."""
    count = job.count(2_000, 100)
    with _application(job) as app, app.running():
        first = datetime.now(UTC) + timedelta(seconds=1 + count / SURELY_BEGUN_A_SECOND)
        times = [first + timedelta(seconds=number / A_SECOND) for number in range(count)]
        _begin(app.store, times)
        steps: list[float] = []
        with app.store.subscribe() as live:
            while len(steps) < count:
                recorded = live.next(timeout=PATIENCE_SECONDS)
                if recorded is None:
                    raise AssertionError(f"only {len(steps)} of {count} deadlines came")
                if isinstance(recorded.event, ProcessAdvanced) and recorded.event.is_done:
                    due = times[int(recorded.event.key)]
                    steps.append((recorded.recorded_at - due).total_seconds())
    return sum(one <= ALLOWED_SECONDS for one in steps) / count


def steps(job: Job) -> float:
    """Steps a second: processes begin, each with a deadline far off, until the last step is recorded."""
    count = job.count(5_000, 200)
    with _application(job) as app:
        _begin(app.store, [datetime.now(UTC) + timedelta(days=1)] * count)
        return _rate(app, Waiting, count)


def plain(job: Job) -> float:
    """Events a second: a plain consumer appends one event for each, one after the other."""
    count = job.count(5_000, 200)
    with Application(fresh(job), consumers=()) as app:
        _begin(app.store, [datetime.now(UTC)] * count)
        with Application(app.store, consumers=[Recording(app.store)]) as reacting:
            return _rate(reacting, Recording, count)


def _application(job: Job) -> Application:
    return Application(fresh(job), consumers=[Waiting], routes=[call(_nothing, Nothing)])


def _nothing(command: Nothing, envelope: Envelope) -> None:
    """Without a route there are no processes."""


def _begin(store: EventStore, times: Sequence[datetime]) -> None:
    for start in range(0, len(times), AT_ONCE):
        some = enumerate(times[start : start + AT_ONCE], start)
        store.append_many([Append(f"begun-{number}", [Begun(str(number), ends)]) for number, ends in some])


def _rate(app: Application, consumer: type[Consumer], count: int) -> float:
    head = app.store.head()
    started = time.perf_counter()
    with app.running():
        if not app.wait_for(consumer, head, PATIENCE_SECONDS):
            raise AssertionError("the consumer did not catch up")
        return count / (time.perf_counter() - started)

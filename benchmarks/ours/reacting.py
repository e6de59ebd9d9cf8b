"""Sacho's read side: views that catch up with a log of 200,000 events, and how soon one shows what was appended."""

from __future__ import annotations

import time
from statistics import quantiles
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

import sacho
from benchmarks.domain import STREAMS, Reservation, going_round, reservation, reservations
from benchmarks.job import Job
from benchmarks.ours.appending import append_hundreds
from benchmarks.ours.logs import for_reading, fresh, prepared, url
from benchmarks.ours.seats import SeatsAdded, SeatsReserved
from benchmarks.timing import seconds
from sacho import EventStore
from sacho.reacting import Application, Changes, DocumentView, Projection, handles

LOG = "views"
KEYS = 20_000
STRIDE = 7_919
"""Prime to the number of keys, so that neighbours in the log have keys far apart."""
APPENDS_A_SECOND = 200
PATIENCE_SECONDS = 300.0


class Counting(Projection):
    """One row that counts: a prebuilt statement for each event."""

    counts = sa.Table(
        "counts", sa.MetaData(), sa.Column("one", sa.Integer, primary_key=True), sa.Column("events", sa.BigInteger)
    )

    def prepare(self) -> None:
        new = insert(self.counts).values(one=1, events=sa.bindparam("more", type_=sa.BigInteger))
        self.count: Any = new.on_conflict_do_update(
            index_elements=["one"], set_={"events": self.counts.c.events + new.excluded.events}
        )

    @handles(SeatsReserved)
    def reserved(self, _: SeatsReserved, changes: Changes) -> None:
        changes.execute(self.count, {"more": 1})


class InlineCounting(Projection):
    """The same, within the append; on either engine."""

    inline = True
    counts = sa.Table(
        "inline_counts",
        sa.MetaData(),
        sa.Column("one", sa.Integer, primary_key=True),
        sa.Column("events", sa.BigInteger),
    )

    def prepare(self) -> None:
        c = self.counts.c
        self.count = self.counts.update().where(c.one == 1).values(events=c.events + 1)
        self.begin = self.counts.insert().values(one=1, events=0)

    @handles(SeatsAdded)
    def added(self, _: SeatsAdded, changes: Changes) -> None:
        changes.execute(self.begin)

    @handles(SeatsReserved)
    def reserved(self, _: SeatsReserved, changes: Changes) -> None:
        changes.execute(self.count)


class Booked(msgspec.Struct, frozen=True):
    """What a reservation came to."""

    seats: int = 0
    events: int = 0


class Bookings(DocumentView[Booked]):
    """A document for each of 20,000 keys."""

    @handles(SeatsReserved, key="reservation_id")
    def reserved(self, event: SeatsReserved, booked: Booked | None) -> Booked:
        before = booked or Booked()
        return Booked(before.seats + event.seats, before.events + 1)


def build(job: Job) -> float:
    """Build the log; return events a second."""
    events = job.count(200_000, 4_000)
    with sacho.connect(prepared(job, LOG)) as store:

        def append_all() -> None:
            for first in range(0, events, 100):
                numbers = [number * STRIDE % KEYS for number in range(first, first + 100)]
                store.append(f"seats-{first}", [SeatsReserved(*reservation(1, number)) for number in numbers])

        return events / seconds(append_all)


def read_typed(job: Job) -> float:
    """Events a second: every event of the log, typed, in order."""
    with sacho.connect(for_reading(job, LOG)) as store:
        started = time.perf_counter()
        count = sum(1 for recorded in store.read_all() if recorded.event.seats)
        return count / (time.perf_counter() - started)


def count_by_statements(job: Job) -> float:
    """Events a second: a counting view from nothing to the log's end, the runner's start included."""
    return _caught_up(job, Counting)


def keep_documents(job: Job) -> float:
    """Events a second: a document view of 20,000 keys from nothing to the log's end."""
    return _caught_up(job, Bookings)


def middle(job: Job) -> float:
    """ms: the median from the call of an append until a reader of the view has it, at 200 appends a second."""
    return _visible(job)[49]


def late(job: Job) -> float:
    """ms: what 99 of 100 take at most, at the same rate."""
    return _visible(job)[98]


def append_inline(job: Job) -> float:
    """Events a second: one thread, one event per append, with a counting view written by each append."""
    with Application(fresh(job), consumers=[InlineCounting]) as app:
        with app.running():
            if not app.wait_for(InlineCounting, 0, PATIENCE_SECONDS):
                raise AssertionError("the view was not registered")
        app.store.append("seats-begin", [SeatsAdded("c", "general", 1)])
        return _appended(job, app.store)


def append_plain(job: Job) -> float:
    """Events a second: the same without a view."""
    with sacho.connect(fresh(job)) as store:
        return _appended(job, store)


def _appended(job: Job, store: EventStore) -> float:
    count = job.count(3_000, 200)
    append_hundreds(store, "before", 20)
    wanted = going_round(count, 1)

    def append_all(some: list[list[Reservation]]) -> None:
        for number, (fields,) in enumerate(some):
            store.append(f"seats-{number % STREAMS}", [SeatsReserved(*fields)])

    append_all(wanted[:100])
    return count / seconds(lambda: append_all(wanted))


def _caught_up(job: Job, view: type[Projection]) -> float:
    with sacho.connect(for_reading(job, LOG)) as store:
        count = sum(1 for _ in store.read_all(raw=True))
        with Application(store, consumers=[view], views=url(job.file("views.db"))) as app:
            started = time.perf_counter()
            with app.running():
                if not app.wait_for(view, store.head(), PATIENCE_SECONDS):
                    raise AssertionError("the view did not catch up")
                return count / (time.perf_counter() - started)


def _visible(job: Job) -> list[float]:
    wanted = reservations(0, range(job.count(5, 1) * APPENDS_A_SECOND))
    took: list[float] = []
    with Application(fresh(job), consumers=[Counting]) as app, app.running():
        app.wait_for(Counting, 0, PATIENCE_SECONDS)
        started = time.perf_counter()
        for number, fields in enumerate(wanted):
            time.sleep(max(0.0, started + number / APPENDS_A_SECOND - time.perf_counter()))
            called = time.perf_counter()
            done = app.store.append("seats-0", [SeatsReserved(*fields)])
            if not app.wait_for(Counting, done.position, PATIENCE_SECONDS):
                raise AssertionError("the view did not show the event")
            took.append(1_000 * (time.perf_counter() - called))
    return quantiles(took, n=100, method="inclusive")

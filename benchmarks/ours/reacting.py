"""Sacho's read side: views that catch up, alone or by several workers, in how much memory; how soon one shows an append."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

import sacho
from benchmarks.clients import seconds_in_clients
from benchmarks.domain import STREAMS, Reservation, going_round, reservation, reservations
from benchmarks.job import Job
from benchmarks.memory import peak_mib, resident_mib
from benchmarks.ours.appending import append_hundreds
from benchmarks.ours.logs import for_reading, fresh, prepared, url
from benchmarks.ours.million import LONG_FILE
from benchmarks.ours.seats import SeatsAdded, SeatsReserved, TaggedSeatsReserved
from benchmarks.timing import seconds
from sacho import EventStore
from sacho.reacting import Application, Changes, DocumentView, Projection, handles

LOG = "views"
KEYS = 20_000
STRIDE = 7_919
"""Prime to the number of keys, so that neighbours in the log have keys far apart."""
APPENDS_A_SECOND = 200
PATIENCE_SECONDS = 300.0
HEAVY_LOG = "heavy"
FEW_HEAVY_LOG = "few-heavy"
HEAVY_COPY = "heavy.db"
HEAVY_STREAMS = 500
HEAVY_EVENTS = 40_000
FEW_HEAVY_EVENTS = 10_000
HEAVY_ROUNDS = 20_000
"""How often a heavy handler adds: half a millisecond of Python, or more."""
LONG_VIEWS_FILE = "long-views.db"


class Counting(Projection):
    """One row that counts: a prebuilt statement for each event."""

    counts = sa.Table(
        "counts", sa.MetaData(), sa.Column("one", sa.Integer, primary_key=True), sa.Column("events", sa.BigInteger)
    )

    def prepare(self) -> None:
        self.count: Any = self._statement(sqlite.insert(self.counts))

    def _statement(self, insert: Any) -> Any:
        new = insert.values(one=1, events=sa.bindparam("more", type_=sa.BigInteger))
        return new.on_conflict_do_update(
            index_elements=["one"], set_={"events": self.counts.c.events + new.excluded.events}
        )

    @handles(SeatsReserved)
    def reserved(self, _: SeatsReserved, changes: Changes) -> None:
        changes.execute(self.count, {"more": 1})


class PostgresCounting(Counting):
    """The same in PostgreSQL's dialect."""

    def prepare(self) -> None:
        self.count = self._statement(postgresql.insert(self.counts))


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


class Heavy(Projection):
    """A row for each conference, and much Python for each event; any number of workers share it."""

    partitions = 8
    counts = sa.Table(
        "heavy_counts",
        sa.MetaData(),
        sa.Column("conference", sa.Text, primary_key=True),
        sa.Column("events", sa.BigInteger),
    )

    def prepare(self) -> None:
        new = sqlite.insert(self.counts).values(conference=sa.bindparam("key"), events=1)
        self.count: Any = new.on_conflict_do_update(
            index_elements=["conference"], set_={"events": self.counts.c.events + 1}
        )

    @handles(SeatsReserved)
    def reserved(self, event: SeatsReserved, changes: Changes) -> None:
        if sum(one * one for one in range(HEAVY_ROUNDS)) > 0:
            changes.execute(self.count, {"key": event.conference_id})


class Conferences(DocumentView[Booked]):
    """A document for each conference of the long log: 10,000 of a hundred events that lie apart."""

    @handles(TaggedSeatsReserved, key="conference_id")
    def reserved(self, event: TaggedSeatsReserved, booked: Booked | None) -> Booked:
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


def count_on_postgres(job: Job) -> float:
    """Events a second: the same on PostgreSQL, in a database beside that of the log."""
    return _caught_up(job, PostgresCounting)


def keep_documents(job: Job) -> float:
    """Events a second: a document view of 20,000 keys from nothing to the log's end."""
    return _caught_up(job, Bookings)


def middle(job: Job) -> float:
    """ms: the median from the call of an append until a reader of the view has it, at 200 appends a second."""
    return _visible(job)[49]


def late(job: Job) -> float:
    """ms: what 99 of 100 take at most, at the same rate."""
    return _visible(job)[98]


def build_heavy(job: Job) -> float:
    """Build the log of the heavy view; return events a second."""
    return _build_heavy(job, HEAVY_LOG, HEAVY_EVENTS)


def build_few_heavy(job: Job) -> float:
    """Build a shorter one."""
    return _build_heavy(job, FEW_HEAVY_LOG, FEW_HEAVY_EVENTS)


def one_worker(job: Job) -> float:
    """Events a second: one process brings the heavy view from nothing to the log's end."""
    return _by_workers(job, HEAVY_LOG, 1)


def two_workers(job: Job) -> float:
    """The same by two processes that begin together: that they first have to find and share is inside."""
    return _by_workers(job, HEAVY_LOG, 2)


def one_worker_for_few(job: Job) -> float:
    """Events a second: one process, the shorter log."""
    return _by_workers(job, FEW_HEAVY_LOG, 1)


def two_workers_for_few(job: Job) -> float:
    """The same by two."""
    return _by_workers(job, FEW_HEAVY_LOG, 2)


@contextmanager
def heavy_worker(job: Job, _: int) -> Iterator[Callable[[], int]]:
    """A process that works until the whole view has come to the log's end; it tells how many events are in the view."""
    with sacho.connect(url(job.file(HEAVY_COPY))) as store:
        with Application(store, consumers=[Heavy], views=url(job.file("views.db"))) as app:

            def work() -> int:
                with app.running():
                    if not app.wait_for(Heavy, store.head(), PATIENCE_SECONDS):
                        raise AssertionError("the view did not catch up")
                with app.reading(Heavy) as view:
                    return int(view.execute(sa.select(sa.func.sum(Heavy.counts.c.events))).scalar_one())

            yield work


def build_long_view(job: Job) -> float:
    """Build the view of the long log that is rebuilt; return events a second."""
    with _long_views(job, job.prepared / LONG_VIEWS_FILE) as app:
        return app.store.head() / seconds(lambda: app.run(once=True))


def memory_of_rebuilding(job: Job) -> float:
    """MiB: the largest resident size while a view is built again from the long log, above that before; until it serves."""
    with _long_views(job, job.copy_of(LONG_VIEWS_FILE)) as app:
        next(iter(app.store.read_all()))
        with app.reading(Conferences) as view:
            before = view.generation
        start = resident_mib()
        app.administration.rebuild(Conferences)
        app.run(once=True)
        grown = peak_mib() - start
        with app.reading(Conferences) as view:
            if view.generation.build != before.build + 1:
                raise AssertionError(f"{view.generation} serves, not the build after {before}")
        return grown


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
        with Application(store, consumers=[view], views=job.database or url(job.file("views.db"))) as app:
            started = time.perf_counter()
            with app.running():
                if not app.wait_for(view, store.head(), PATIENCE_SECONDS):
                    raise AssertionError("the view did not catch up")
                return count / (time.perf_counter() - started)


def _build_heavy(job: Job, name: str, events: int) -> float:
    each = job.count(events // HEAVY_STREAMS, 2)
    with sacho.connect(prepared(job, name)) as store:

        def append_all() -> None:
            for stream in range(HEAVY_STREAMS):
                store.append(f"seats-{stream}", [SeatsReserved(*reservation(stream, one)) for one in range(each)])

        return HEAVY_STREAMS * each / seconds(append_all)


def _by_workers(job: Job, name: str, workers: int) -> float:
    job.copy_of(f"{name}-sacho.db").rename(job.file(HEAVY_COPY))
    with sacho.connect(url(job.file(HEAVY_COPY))) as store:
        events = store.head()
        # The views' file is made here: of two processes that make it at once, one may find it locked and fail.
        with Application(store, consumers=[Heavy], views=url(job.file("views.db"))) as app:
            app.prepare()
    took, worked = seconds_in_clients(f"{__name__}:heavy_worker", job, workers)
    if {one.result for one in worked} != {events}:
        raise AssertionError(f"the view has {[one.result for one in worked]} events, not {events}")
    return events / took


@contextmanager
def _long_views(job: Job, path: Path) -> Iterator[Application]:
    with sacho.connect(url(job.prepared / LONG_FILE)) as store:
        with Application(store, consumers=[Conferences], views=url(path)) as app:
            yield app


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
            with app.reading(Counting) as view:
                if view.execute(sa.select(Counting.counts.c.events)).scalar_one() != number + 1:
                    raise AssertionError("the view does not have the event")
            took.append(1_000 * (time.perf_counter() - called))
    return quantiles(took, n=100, method="inclusive")

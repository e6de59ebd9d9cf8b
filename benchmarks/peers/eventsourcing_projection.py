"""The `eventsourcing` library's projections: a ProjectionRunner, and a view of its PostgreSQL tracking recorder that counts.

For each event the view's row and the position are written in one transaction of their own, which is how the library goes.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from benchmarks.domain import SEAT_TYPE, reservation
from benchmarks.job import Job
from benchmarks.peers.eventsourcing_app import Bookings, Seats
from benchmarks.peers.eventsourcing_places import check_durability, for_reading, fresh, prepared
from benchmarks.timing import seconds

LOG = "views"
EVENTS_PER_AGGREGATE = 100
PATIENCE_SECONDS = 300.0


class Counts(PostgresTrackingRecorder):  # type: ignore[misc]  # the library is not followed by the type checker
    """The view: one row that counts, written with the position that it is as of."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        table = SQL("{}.{}").format(Identifier(self.datastore.schema), Identifier("counts"))
        self.sql_create_statements.append(
            SQL("CREATE TABLE IF NOT EXISTS {} (one int PRIMARY KEY, events bigint)").format(table)
        )
        self.count_statement = SQL(
            "INSERT INTO {0} AS c VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET events = c.events + 1"
        ).format(table)
        self.read_statement = SQL("SELECT events FROM {}").format(table)

    def count(self, tracking: Tracking) -> None:
        """Count one event."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(self.count_statement, prepare=True)

    def counted(self) -> int:
        """Return how many were."""
        with self.datastore.transaction() as cursor:
            cursor.execute(self.read_statement)
            return int(cursor.fetchone()["events"])


class Counting(Projection[Counts]):  # type: ignore[misc]  # as above
    """Counts every event; knows when it had the first, and when the last was in the view."""

    name = "counting"
    expected = 0

    def __init__(self, view: Counts) -> None:
        super().__init__(view)
        self.done = threading.Event()
        self.handled = 0
        self.started = self.ended = 0.0

    def process_event(self, _: Any, tracking: Tracking) -> None:
        """Count it."""
        self.started = self.started or time.perf_counter()
        self.view.count(tracking)
        self.handled += 1
        if self.handled == self.expected:
            self.ended = time.perf_counter()
            self.done.set()


def build(job: Job) -> float:
    """Build the log: 5,000 events, since only the rate is compared; return events a second."""
    events = _count(job)
    with Bookings(env=prepared(job, LOG)) as app:
        check_durability(app.recorder)

        def save_all() -> None:
            for entity in range(events // EVENTS_PER_AGGREGATE):
                seats = Seats(SEAT_TYPE, 10 * EVENTS_PER_AGGREGATE)
                for number in range(1, EVENTS_PER_AGGREGATE):
                    seats.reserve(reservation(entity, number))
                app.save(seats)

        return events / seconds(save_all)


def count(job: Job) -> float:
    """Events a second, each on the disk before the next. From the first event in the projection's hand to the last in the view.

    The runner's start is left out.
    """
    return _counted(job, is_durable=True)


def count_at_ease(job: Job) -> float:
    """Events a second: the same with synchronous_commit off in the view's database, as Sacho's views have it."""
    assert job.database is not None
    with psycopg.connect(job.database, autocommit=True) as connection:
        connection.execute(
            SQL("ALTER DATABASE {} SET synchronous_commit = off").format(Identifier(connection.info.dbname))
        )
    return _counted(job, is_durable=False)


def _counted(job: Job, *, is_durable: bool) -> float:
    place = for_reading(job, LOG)
    own = {f"COUNTING_{name}": value for name, value in fresh(job).items()}
    with Bookings(env=place) as app:
        Counting.expected = app.recorder.max_notification_id()
    with ProjectionRunner(
        application_class=Bookings,
        projection_class=Counting,
        view_class=Counts,
        env={**place, "COUNTING_POSTGRES_SCHEMA": "public", **own},
    ) as runner:
        check_durability(runner.app.recorder)
        with runner.view.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            if cursor.execute("SHOW synchronous_commit").fetchone() != ("on" if is_durable else "off",):
                raise AssertionError("the view's database is not as durable as it was to be")
        projection: Counting = runner.projection
        if not projection.done.wait(PATIENCE_SECONDS):
            raise AssertionError(f"{projection.handled} events were handled, not {projection.expected}")
        if runner.view.counted() != projection.expected:
            raise AssertionError(f"{runner.view.counted()} events were counted, not {projection.expected}")
        return projection.expected / (projection.ended - projection.started)


def _count(job: Job) -> int:
    return job.count(5_000, 200)

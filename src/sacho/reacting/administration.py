"""Administration: how consumers stand, and what operators do to them. The command line shows it; it is an API, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from sacho.errors import CannotSwitch, UnknownConsumer
from sacho.reacting.bookkeeping import NO_WORKERS, Bookkeeping, Parked, PartitionRow
from sacho.reacting.building import NEAR_SECONDS, Builder, class_of, is_written_by_appends
from sacho.reacting.comparing import Comparison, compare
from sacho.reacting.consumer import Consumer, Named, first_concerning
from sacho.reacting.processes.overview import Processes
from sacho.reacting.projection import Projection
from sacho.reacting.removing import remove
from sacho.reacting.tables import SERVING, STANDBY, Generation

if TYPE_CHECKING:
    from sacho.store import EventStore


class PartitionStatus(NamedTuple):
    """How one partition stands: `owner` is the worker that holds its lease now, None if none; `error` where it `stopped_at`."""

    partition: int
    position: int
    handled: int
    owner: str | None
    stopped_at: int | None
    error: str | None


class Status(NamedTuple):
    """How one build of a consumer stands. `lag_events` is in positions, `lag_seconds` the age of the first event not handled.

    `rate` is how many events it handled a second, over about the last ten seconds that it worked. `seconds_left` is how long
    it will take to the log's head at that pace: 0 where it is there, None where it does not move. `error` is the last
    error: that of the partition that stopped, else of the event parked last; None where there is neither. What is written
    by appends (inline) is at the head as soon as it serves.
    """

    name: str
    version: int
    build: int
    state: str
    position: int
    head: int
    lag_events: int
    lag_seconds: float
    handled: int
    rate: float
    seconds_left: float | None
    parked: int
    waiting: int
    error: str | None
    partitions: tuple[PartitionStatus, ...]

    @property
    def is_stopped(self) -> bool:
        """Whether a partition stopped at an event."""
        return any(one.stopped_at is not None for one in self.partitions)


class Administration:
    """What is asked of consumers and done to them. Consumers are named by name or class, as by `Application.consumer`."""

    def __init__(
        self,
        store: EventStore,
        books: Bookkeeping,
        consumers: Sequence[Consumer],
        find: Callable[[Named], Consumer],
    ) -> None:
        self._store = store
        self._books = books
        self._consumers = consumers
        self._find = find

    def status(self) -> list[Status]:
        """Return how every build of every consumer stands, in order of name, version and build."""
        head = self._store.head()
        with self._books.database.reading() as connection:
            now = float(connection.execute(sa.select(self._books.database.now())).scalar_one())
            return [
                self._status(connection, row.generation, row.state, head, now)
                for row in self._books.generations(connection)
            ]

    def parked(self, consumer: Named) -> list[Parked]:
        """Return the parked events of the builds that are run, the one that serves and those in the making, in order of position."""
        with self._books.database.reading() as connection:
            found = [row for one in self._running(connection, consumer) for row in self._books.parked(connection, one)]
        return sorted(found, key=lambda row: row.position)

    def retry(self, consumer: Named, position: int | None = None) -> int:
        """Ask that a parked event, or all that failed, be tried again, and those that wait behind; return how many failed ones."""
        return self._ask(consumer, position, "retry")

    def drop(self, consumer: Named, position: int) -> int:
        """Ask that a parked event be left out of the view for good; those that wait behind it go on."""
        return self._ask(consumer, position, "drop")

    @property
    def processes(self) -> Processes:
        """What is asked of processes and done to them: which run or are stuck, one of them in detail, to retry one."""

        def ask(consumer: str, positions: Sequence[int]) -> None:
            for position in positions:
                self.retry(consumer, position)

        return Processes(self._store, self._books, self._consumers, ask)

    def rebuild(self, consumer: Named) -> Generation:
        """Begin to build a projection again, beside the build that serves, which it takes over from; return the new build."""
        return self._builder(consumer).rebuild()

    def compare(self, consumer: Named, old: int | None = None, new: int | None = None) -> Comparison:
        """Return how two versions of a projection differ: by default the one that serves, and the newest other one."""
        found = self._find(consumer)
        if not isinstance(found, Projection):
            raise CannotSwitch(found.name, "it is no projection, so it has no tables to compare")
        with self._books.database.reading() as connection:
            rows = self._books.generations(connection, found.name)
        serving = [row.generation for row in rows if row.state == SERVING]
        before = _last(
            found.name, [row.generation for row in rows if row.generation.version == old] if old else serving
        )
        others = [row.generation for row in rows if row.generation != before and new in (None, row.generation.version)]
        after = _last(found.name, others)
        old_tables, new_tables = self._tables(found, before.version), self._tables(found, after.version)
        names = [(old_tables.get(one, name), name) for one, name in new_tables.items()]
        return compare(self._books, names, before, after)

    def accept(self, consumer: Named) -> None:
        """Take the consumer, and the log, as they are now for those that the checkpoints belong to."""
        self._builder(consumer).accept()

    def switch(self, consumer: Named, version: int, build: int | None = None) -> Generation:
        """Have another version catch up and take over; at once, if it waits for that."""
        builder = self._builder_of(consumer, version)
        generation = builder.switch(version, build)
        builder.take_over(generation, self._store.head(), NEAR_SECONDS)
        return generation

    def remove(self, consumer: Named, version: int, build: int | None = None) -> list[Generation]:
        """Remove the tables and checkpoints of a version; return the builds that went.

        Of a consumer that is declared, not the one that serves. Of one whose class is gone (give its name) also that, with
        its SQL view; where it was inline, appends have nothing to do with it any more.
        """
        name = consumer if isinstance(consumer, str) else self._find(consumer).name
        is_declared = any(one.name == name for one in self._consumers)
        return remove(self._store, self._books, name, version, build, is_declared=is_declared)

    # --- parts ----------------------------------------------------------------------------------------

    def _tables(self, projection: Projection, version: int) -> dict[str, str]:
        """Return the names of a version's tables by attribute, those of the newest class where its own is not declared."""
        own = next(
            (one for one in self._consumers if (one.name, one.version) == (projection.name, version)), projection
        )
        return {name: str(table.name) for name, table in getattr(own, "tables", {}).items()}

    def _builder(self, consumer: Named) -> Builder:
        return Builder(self._store, self._books, self._find(consumer))

    def _builder_of(self, consumer: Named, version: int) -> Builder:
        """Return the builder of a version, by its class. Raises CannotSwitch."""
        name = self._find(consumer).name
        for one in self._consumers:
            if one.name == name and one.version == version:
                return Builder(self._store, self._books, one)
        raise CannotSwitch(
            name, f"no class of version {version} is among the application's consumers, which its workers need to go on"
        )

    def _running(self, connection: sa.Connection, consumer: Named) -> list[Generation]:
        """Return the builds that are run: the one that serves, and those in the making."""
        found = self._find(consumer)
        rows = self._books.generations(connection, found.name)
        if not rows:
            raise UnknownConsumer(f"checkpoint of {found.name!r}: it was never run", [])
        return [row.generation for row in rows if row.state != STANDBY]

    def _ask(self, consumer: Named, position: int | None, action: str) -> int:
        with self._books.database.writing() as connection:
            asked = 0
            for generation in self._running(connection, consumer):
                for row in self._books.parked(connection, generation, position=position):
                    if row.error:
                        self._books.ask(connection, generation, row.position, action)
                        asked += 1
            if not asked and position is not None:
                raise UnknownConsumer(f"parked event at position {position}", [])
        return asked

    def _status(self, connection: sa.Connection, generation: Generation, state: str, head: int, now: float) -> Status:
        rows = self._books.partitions(connection, generation)
        if state == SERVING and is_written_by_appends(self._store, self._consumers, generation):
            rows = [row._replace(position=max(row.position, head)) for row in rows]
        parked = self._books.parked(connection, generation)
        position = min((row.position for row in rows), default=0)
        handled = sum(row.handled for row in rows)
        failed = sum(1 for row in parked if row.error)
        partitions = tuple(
            PartitionStatus(
                row.partition,
                row.position,
                row.handled,
                row.owner if _is_worked_on(row, now) else None,
                row.stopped_at,
                row.error,
            )
            for row in rows
        )
        lag = self._lag_seconds(generation, position, head)
        return Status(
            generation.name, generation.version, generation.build, state, position, head, max(0, head - position), lag,
            handled, sum(row.rate for row in rows), _seconds_left(rows, head, now), failed, len(parked) - failed,
            _last_error(rows, parked), partitions,
        )  # fmt: skip

    def _lag_seconds(self, generation: Generation, position: int, head: int) -> float:
        """Return the age of the first event that is not handled, any event where the class is not known; 0 for none."""
        consumer = class_of(self._consumers, generation)
        row = first_concerning(self._store.storage, consumer, position, head)
        return 0.0 if row is None else max(0.0, time.time() - row[9] / 1_000_000)


def _is_worked_on(row: PartitionRow, now: float) -> bool:
    """Tell whether a worker holds a partition now."""
    return row.owner is not None and row.owner not in NO_WORKERS and row.expires_at > now


def _last_error(rows: Sequence[PartitionRow], parked: Sequence[Parked]) -> str | None:
    """Return why a partition stopped, or else what the event that was parked last failed with."""
    stopped = next((row.error for row in rows if row.stopped_at is not None), None)
    failed = max((row for row in parked if row.error), key=lambda row: (row.parked_at, row.position), default=None)
    return stopped or (failed and failed.error)


def _seconds_left(rows: Sequence[PartitionRow], head: int, now: float) -> float | None:
    """Return how long it takes all partitions to come to the head, None where one does not move."""
    found = 0.0
    for row in rows:
        if row.position < head:
            if not row.speed or row.stopped_at is not None or not _is_worked_on(row, now):
                return None
            found = max(found, (head - row.position) / row.speed)
    return found


def _last(name: str, generations: Sequence[Generation]) -> Generation:
    if not generations:
        raise CannotSwitch(name, "there are no two builds of it to compare; rebuild it, or give it a new version")
    return generations[-1]

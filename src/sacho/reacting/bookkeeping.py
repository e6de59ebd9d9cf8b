"""Checkpoints, leases, states and parked events: all statements over the consumers' own tables, each saying what it does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import and_, case, func, not_, or_, select, tuple_, update

from sacho.errors import CannotSwitch, LeaseLost, NewerSchema
from sacho.events import RecordedEvent
from sacho.reacting.databases import ViewDatabase, insert_into
from sacho.reacting.pace import Pace
from sacho.reacting.tables import (
    FORMAT,
    SERVING,
    Generation,
    format_stamp,
    generations,
    metadata,
    parked,
    partitions,
    workers,
)

MAKE_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('sacho makes tables for consumers'))"

NOBODY: Final = "written by appends"
"""The owner of the partitions of a build that no worker may take."""
RESTS: Final = "rests: another build serves"
FOR_EVER: Final = 1e15
RESTS_A_MOMENT: Final = "rests a moment: another build is about to take over"
NO_WORKERS: Final = frozenset({NOBODY, RESTS, RESTS_A_MOMENT})
"""Owners that are no workers: nobody handles the partition."""


OF_ALL: Final = -1
"""In place of its partition, for an event of which it cannot be told: all stop there."""


class Lease(NamedTuple):
    """The right to handle one partition: the position it stands at, the token, where it stopped if it did."""

    partition: int
    position: int
    token: int
    stopped_at: int | None


class Parked(NamedTuple):
    """An event that is parked: `error` is None for one that only waits behind another of its key."""

    consumer: str
    position: int
    partition: int
    key: str
    event_id: str
    type: str
    stream: str | None
    error: str | None
    traceback: str | None
    attempts: int
    parked_at: float
    action: str | None


class PartitionRow(NamedTuple):
    """How a partition stands, as the database says."""

    partition: int
    position: int
    handled: int
    moved_at: float
    rate: float
    speed: float
    owner: str | None
    expires_at: float
    stopped_at: int | None
    error: str | None


class GenerationRow(NamedTuple):
    """A build of a consumer, as the database says."""

    generation: Generation
    state: str
    fingerprint: str
    log_id: str
    epoch: int
    partitions: int
    started: int
    begun_at: float
    tables: tuple[str, ...]


class Bookkeeping:
    """The consumers' tables in one database. Methods that take a connection are part of the caller's transaction."""

    def __init__(self, database: ViewDatabase) -> None:
        self.database = database

    def make_tables(self) -> None:
        """Make the tables that are missing. Raises NewerSchema where a newer Sacho made them."""
        database = self.database
        with database.writing() as connection:
            if database.dialect == "postgresql":
                connection.exec_driver_sql(MAKE_LOCK)
                if database.schema is not None:
                    connection.execute(sa.schema.CreateSchema(database.schema, if_not_exists=True))
                    # those of others, in the schema "public" behind it, are not looked at
                    connection.execute(select(func.set_config("search_path", f'"{database.schema}"', True)))
            metadata.create_all(connection)
            found = connection.execute(select(func.max(format_stamp.c.format))).scalar_one()
            if found is None:
                connection.execute(format_stamp.insert().values(format=FORMAT))
            elif found > FORMAT:
                raise NewerSchema(database.where, found, FORMAT)

    # --- generations ----------------------------------------------------------------------------------

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Let one transaction at a time change the builds of a consumer (SQLite's own lock does that anyway)."""
        if self.database.dialect == "postgresql":
            connection.execute(
                sa.text("SELECT pg_advisory_xact_lock(hashtext('sacho consumer'), hashtext(:name))"), {"name": name}
            )

    def generations(self, connection: sa.Connection, name: str | None = None) -> list[GenerationRow]:
        """Return the builds of a consumer, or of all, in order of version and build."""
        found = select(generations).order_by(generations.c.name, generations.c.version, generations.c.build)
        if name is not None:
            found = found.where(generations.c.name == name)
        rows = connection.execute(found)
        return [
            GenerationRow(
                Generation(row.name, row.version, row.build),
                row.state,
                row.fingerprint,
                row.log_id,
                row.epoch,
                row.partitions,
                row.started,
                row.begun_at,
                tuple(json.loads(row.tables)),
            )
            for row in rows
        ]

    def named(
        self, connection: sa.Connection, name: str, version: int, build: int | None = None
    ) -> list[GenerationRow]:
        """Return the builds of a version, or the one of them that is named. Raises CannotSwitch where there is none."""
        rows = self.generations(connection, name)
        found = [row for row in rows if row.generation.version == version and build in (None, row.generation.build)]
        if not found:
            raise CannotSwitch(name, f"there is no build of version {version}")
        return found

    def serving(self, connection: sa.Connection, name: str) -> Generation | None:
        """Return the build that serves, if there is one."""
        return next((row.generation for row in self.generations(connection, name) if row.state == SERVING), None)

    def enter(
        self,
        connection: sa.Connection,
        generation: Generation,
        state: str,
        fingerprint: str,
        log: tuple[str, int],
        start: int,
        count: int,
        tables: Sequence[str],
    ) -> None:
        """Enter a new build of these tables, that begins after a position, with a checkpoint for each of so many partitions."""
        now = self.database.now()
        own = generation._asdict()
        connection.execute(
            generations.insert().values(
                **own,
                state=state,
                fingerprint=fingerprint,
                log_id=log[0],
                epoch=log[1],
                partitions=count,
                started=start,
                begun_at=now,
                tables=json.dumps(tables),
            )
        )
        self.deal(connection, generation, start, count)

    def deal(self, connection: sa.Connection, generation: Generation, position: int, count: int) -> None:
        """Give a build so many partitions, in place of those that it has, all at one position.

        Their tokens are higher than those before: a lease of before must not pass for one of these.
        """
        before = partitions.delete().where(_of(partitions, generation)).returning(partitions.c.token)
        token = max(connection.execute(before).scalars(), default=0) + 1
        for partition in range(count):
            connection.execute(
                partitions.insert().values(
                    **generation._asdict(),
                    partition=partition,
                    position=position,
                    handled=0,
                    moved_at=self.database.now(),
                    rate=0.0,
                    speed=0.0,
                    token=token,
                    expires_at=0.0,
                )
            )
        connection.execute(update(generations).where(_of(generations, generation)).values(partitions=count))

    def change(self, connection: sa.Connection, generation: Generation, **values: Any) -> None:
        """Change facts of a build."""
        connection.execute(update(generations).where(_of(generations, generation)).values(**values))

    def forget(self, connection: sa.Connection, generation: Generation) -> None:
        """Forget all about a build."""
        for table in (parked, workers, partitions, generations):
            connection.execute(table.delete().where(_of(table, generation)))

    def fence_off(self, connection: sa.Connection, generation: Generation) -> None:
        """Take all partitions of a build from whoever holds them; what they have under way cannot commit any more."""
        self._take_away(connection, generation, owner=None, expires_at=0.0)

    def close(self, connection: sa.Connection, generation: Generation, owner: str = NOBODY) -> None:
        """See to it that no worker takes a partition of a build any more."""
        self._take_away(connection, generation, owner=owner, expires_at=FOR_EVER)

    def rest(self, connection: sa.Connection, generation: Generation, seconds: float) -> None:
        """See to it that no worker goes on with a build for so many seconds."""
        self._take_away(connection, generation, owner=RESTS_A_MOMENT, expires_at=self.database.now() + seconds)

    def move_all(self, connection: sa.Connection, generation: Generation, position: int) -> None:
        """Put all checkpoints of a build to a position at most."""
        connection.execute(
            update(partitions)
            .where(_of(partitions, generation), partitions.c.position > position)
            .values(position=position)
        )

    def pass_all(self, connection: sa.Connection, generation: Generation, position: int) -> None:
        """Put all checkpoints of a build to a position at least."""
        connection.execute(
            update(partitions)
            .where(_of(partitions, generation), partitions.c.position < position)
            .values(position=position)
        )

    # --- partitions and leases ------------------------------------------------------------------------

    def partitions(self, connection: sa.Connection, generation: Generation) -> list[PartitionRow]:
        """Return how the partitions of a build stand, in order."""
        return [PartitionRow._make(row) for row in self._of_partitions(connection, generation, PartitionRow._fields)]

    def leases(self, connection: sa.Connection, generation: Generation) -> list[Lease]:
        """Return the leases of all partitions of a build, whoever holds them."""
        return [Lease._make(row) for row in self._of_partitions(connection, generation, Lease._fields)]

    def see(self, connection: sa.Connection, generation: Generation, worker: str, seconds: float) -> tuple[int, int]:
        """Say that a worker lives, keep its leases for so many seconds more; return its place among how many that live."""
        now = self.database.now()
        self._upsert_worker(connection, generation, worker)
        is_itself = workers.c.worker == worker  # it lives, however slow this very transaction is
        is_forgotten = and_(workers.c.seen_at < now - 10 * seconds, not_(is_itself))
        connection.execute(workers.delete().where(_of(workers, generation), is_forgotten))
        self.keep(connection, generation, worker, seconds)
        lives = or_(workers.c.seen_at > now - seconds, is_itself)
        living = select(workers.c.worker).where(_of(workers, generation), lives)
        names = list(connection.execute(living.order_by(workers.c.joined_at, workers.c.worker)).scalars())
        return names.index(worker), len(names)

    def keep(self, connection: sa.Connection, generation: Generation, worker: str, seconds: float) -> None:
        """Keep a worker's leases for so many seconds more."""
        own = (
            select(partitions.c.partition)
            .where(_of(partitions, generation), partitions.c.owner == worker)
            .with_for_update(skip_locked=True)  # one that is in a commit just now lives, and is not waited for
        )
        connection.execute(
            update(partitions)
            .where(_of(partitions, generation), partitions.c.partition.in_(own.scalar_subquery()))
            .values(expires_at=self.database.now() + seconds)
        )

    def acquire(
        self,
        connection: sa.Connection,
        generation: Generation,
        worker: str,
        most: int,
        seconds: float,
        held: Iterable[Lease] = (),
        *,
        count: int,
    ) -> list[Lease]:
        """Take up to so many partitions that nobody holds, beside those held; return their leases.

        None of a build that is dealt among another number than `count`: its keys belong to other partitions then.
        """
        now, c = self.database.now(), partitions.c
        is_dealt_so = sa.exists().where(_of(generations, generation), generations.c.partitions == count)
        free = (
            select(c.partition)
            .where(_of(partitions, generation), or_(c.owner.is_(None), c.owner == worker, c.expires_at < now))
            .where(is_dealt_so)
            .where(c.partition.not_in([lease.partition for lease in held]))
            .order_by(c.partition)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
        found = list(connection.execute(free).scalars())
        if not found:
            return []
        taken = (
            update(partitions)
            .where(_of(partitions, generation), c.partition.in_(found))
            .values(owner=worker, token=c.token + 1, expires_at=now + seconds)
            .returning(*_columns(partitions, Lease._fields))
        )
        return sorted(Lease(*row) for row in connection.execute(taken))

    def has_workers(self, connection: sa.Connection, generation: Generation, seconds: float) -> bool:
        """Tell whether a worker of a build gave a sign of life within so many seconds."""
        living = select(workers.c.worker).where(
            _of(workers, generation), workers.c.seen_at > self.database.now() - seconds
        )
        return connection.execute(living.limit(1)).first() is not None

    def release(self, connection: sa.Connection, generation: Generation, leases: Iterable[Lease]) -> None:
        """Give partitions back, so that others take them at once."""
        connection.execute(update(partitions).where(_held(generation, leases)).values(owner=None, expires_at=0.0))

    def leave(self, connection: sa.Connection, generation: Generation, worker: str) -> None:
        """Say that a worker is gone."""
        connection.execute(workers.delete().where(_of(workers, generation), workers.c.worker == worker))

    def advance(
        self,
        connection: sa.Connection,
        generation: Generation,
        leases: Sequence[Lease],
        position: int,
        handled: int,
        pace: Pace | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Move checkpoints up to a position. Raises LeaseLost where another has taken over; the caller rolls back then.

        How many events were handled, and how fast, is counted with the first of the partitions. The leases hold for so
        many `seconds` from now, if they would not for longer.
        """
        c = partitions.c
        now = self.database.now()
        is_first = c.partition == leases[0].partition
        noted = {} if pace is None else {"rate": case((is_first, pace.rate), else_=0.0), "speed": pace.speed}
        moved = connection.execute(
            update(partitions)
            .where(_held(generation, leases))
            .values(
                position=case((c.position < position, position), else_=c.position),
                handled=c.handled + case((is_first, handled), else_=0),
                moved_at=now,
                expires_at=case((c.expires_at < now + seconds, now + seconds), else_=c.expires_at),
                **noted,
            )
        )
        if moved.rowcount != len(leases):
            raise LeaseLost(str(generation))

    def hold(self, connection: sa.Connection, generation: Generation, leases: Sequence[Lease]) -> None:
        """Make sure of leases until the transaction ends. Raises LeaseLost."""
        self.advance(connection, generation, leases, 0, 0)

    def stop(
        self, connection: sa.Connection, generation: Generation, partition: int, position: int | None, error: str | None
    ) -> None:
        """Say that a partition stopped at an event, or (None) that it goes on."""
        connection.execute(
            update(partitions)
            .where(_of(partitions, generation), partitions.c.partition == partition)
            .values(stopped_at=position, error=error)
        )

    # --- parked events --------------------------------------------------------------------------------

    def park(self, connection: sa.Connection, generation: Generation, rows: Sequence[dict[str, Any]]) -> None:
        """Park events; those that are parked already are left as they are."""
        insert = insert_into(parked, self.database.dialect).on_conflict_do_nothing()
        for row in rows:
            values = {**generation._asdict(), "parked_at": self.database.now(), **row}
            connection.execute(insert.values(**values))

    def park_failed(
        self,
        connection: sa.Connection,
        generation: Generation,
        row: dict[str, Any],
        error: str,
        trace: str,
        attempts: int,
    ) -> None:
        """Park an event that failed, or say of one where several partitions stop that it failed for this one, too."""
        insert = insert_into(parked, self.database.dialect)
        told = {"error": error, "traceback": trace, "attempts": attempts}
        values = {**generation._asdict(), "parked_at": self.database.now(), **row, **told}
        connection.execute(
            insert.values(**values).on_conflict_do_update(
                index_elements=[column.name for column in parked.primary_key], set_={**told, "action": _left_asked()}
            )
        )

    def parked(
        self, connection: sa.Connection, generation: Generation, *, key: str | None = None, position: int | None = None
    ) -> list[Parked]:
        """Return the parked events of a build, those of one key or the one at a position, in order."""
        c, (_, *names) = parked.c, Parked._fields
        found = select(*_columns(parked, names)).where(_of(parked, generation))
        if key is not None:
            found = found.where(c.key == key)
        if position is not None:
            found = found.where(c.position == position)
        return [Parked(generation.name, *row) for row in connection.execute(found.order_by(c.position))]

    def parked_keys(self, connection: sa.Connection, generation: Generation) -> tuple[set[str], int, bool]:
        """Return the keys that are held up, how many events have failed, and whether there is something to do about any.

        That is so where somebody asked, and where no event of a key has failed: then those behind it have nothing to wait for.
        """
        c = parked.c
        rows = list(
            connection.execute(
                select(c.key, func.count(c.error), func.count(c.action)).where(_of(parked, generation)).group_by(c.key)
            )
        )
        return {row[0] for row in rows}, sum(row[1] for row in rows), any(row[2] or not row[1] for row in rows)

    def ask(self, connection: sa.Connection, generation: Generation, position: int, action: str) -> None:
        """Ask that a parked event be tried again or dropped."""
        connection.execute(
            update(parked).where(_of(parked, generation), parked.c.position == position).values(action=action)
        )

    def failed_again(
        self, connection: sa.Connection, generation: Generation, position: int, error: str, traceback: str
    ) -> None:
        """Say that a parked event has failed once more. That it be dropped may have been asked meanwhile."""
        connection.execute(
            update(parked)
            .where(_of(parked, generation), parked.c.position == position)
            .values(error=error, traceback=traceback, attempts=parked.c.attempts + 1, action=_left_asked())
        )

    def move_parked(self, connection: sa.Connection, generation: Generation, row: Parked, partition: int) -> None:
        """Give a parked event to the partition that has its key now."""
        connection.execute(
            update(parked).where(_of(parked, generation), parked.c.position == row.position).values(partition=partition)
        )

    def unpark(self, connection: sa.Connection, generation: Generation, position: int) -> None:
        """Take an event out of those that are parked."""
        connection.execute(parked.delete().where(_of(parked, generation), parked.c.position == position))

    def unpark_passed(self, connection: sa.Connection, generation: Generation, position: int) -> None:
        """Take an event out of those that are parked, unless a partition is still stopped there."""
        row = and_(_of(parked, generation), parked.c.position == position)
        connection.execute(select(parked.c.position).where(row).with_for_update())  # in turn: the last one sees it
        stopped = select(partitions.c.partition).where(_of(partitions, generation), partitions.c.stopped_at == position)
        connection.execute(parked.delete().where(row, ~stopped.exists()))

    def _of_partitions(
        self, connection: sa.Connection, generation: Generation, names: Sequence[str]
    ) -> Iterable[sa.Row[Any]]:
        """Return columns of the partitions of a build, in order of partition."""
        found = select(*_columns(partitions, names)).where(_of(partitions, generation))
        return connection.execute(found.order_by(partitions.c.partition))

    def _take_away(self, connection: sa.Connection, generation: Generation, **values: Any) -> None:
        taken = update(partitions).where(_of(partitions, generation))
        connection.execute(taken.values(token=partitions.c.token + 1, **values))

    def _upsert_worker(self, connection: sa.Connection, generation: Generation, worker: str) -> None:
        now = self.database.now()
        values = {**generation._asdict(), "worker": worker, "joined_at": now, "seen_at": now}
        connection.execute(
            insert_into(workers, self.database.dialect)
            .values(**values)
            .on_conflict_do_update(index_elements=["name", "version", "build", "worker"], set_={"seen_at": now})
        )


def _columns(table: sa.Table, names: Sequence[str]) -> list[sa.Column[Any]]:
    """Return the columns that hold the fields of a row, in their order."""
    return [table.c[name] for name in names]


def _of(table: sa.Table, generation: Generation) -> sa.ColumnElement[bool]:
    c = table.c
    return and_(c.name == generation.name, c.version == generation.version, c.build == generation.build)


def _left_asked() -> sa.ColumnElement[Any]:
    """Return what stays asked of an event that failed once more: to drop it may have been asked meanwhile."""
    return case((parked.c.action == "drop", "drop"), else_=None)


def _held(generation: Generation, leases: Iterable[Lease]) -> sa.ColumnElement[bool]:
    """Where a build's partitions still have these leases' tokens."""
    pairs = [(lease.partition, lease.token) for lease in leases]
    return and_(_of(partitions, generation), tuple_(partitions.c.partition, partitions.c.token).in_(pairs))


def lets_go_on(row: Parked, stopped: Lease | PartitionRow) -> bool:
    """Tell whether what is asked of a parked event lets a partition that stopped go on: it is at it, or behind it."""
    return row.partition == stopped.partition or row.position == stopped.stopped_at


def parked_row(recorded: RecordedEvent, partition: int, key: str) -> dict[str, Any]:
    """Return an event as it is parked."""
    return {
        "partition": partition,
        "position": recorded.position,
        "key": key,
        "event_id": str(recorded.id),
        "type": recorded.type,
        "stream": recorded.stream,
        "attempts": 0,
    }

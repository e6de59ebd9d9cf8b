"""Building: entering a consumer, building a new version beside the one that serves, taking over at one instant, going back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from sacho.errors import (
    CannotSwitch,
    CheckpointAhead,
    DuplicateConsumer,
    ForeignCheckpoint,
    PartitionsDiffer,
    ProjectionChanged,
)
from sacho.events import Query
from sacho.reacting.bookkeeping import RESTS, Bookkeeping, GenerationRow, PartitionRow
from sacho.reacting.consumer import Consumer, partition_of
from sacho.reacting.declaring import is_same
from sacho.reacting.inline import register, replaces_inline
from sacho.reacting.projection import Projection, create_tables, is_inline, show
from sacho.reacting.tables import BUILDING, IN_THE_MAKING, SERVING, STANDBY, SWITCHING, Generation

if TYPE_CHECKING:
    from sacho.store import EventStore

FURTHEST: Final = 2**63 - 1
NEAR_SECONDS: Final = 2.0
"""How old the log's head may be that a build has come to, to be said to have caught up: writers never rest."""


def version_of(consumer: Consumer) -> int:
    """Return the version of a consumer's checkpoints: a plain one goes on from its earlier version's."""
    return consumer.version if isinstance(consumer, Projection) else 1


def class_of(consumers: Iterable[Consumer], generation: Generation) -> Consumer | None:
    """Return the consumer of a build's version, if it is among these: its class may be gone."""
    return next((one for one in consumers if (one.name, version_of(one)) == generation[:2]), None)


def is_written_by_appends(store: EventStore, consumers: Iterable[Consumer], serving: Generation) -> bool:
    """Tell whether a build that serves is inline. Where its class is not among the consumers, the log tells."""
    found = class_of(consumers, serving)
    return str(serving) in store.storage.inline_views() if found is None else is_inline(found)


class Builder:
    """What becomes of the builds of one consumer. Its methods are short transactions, safe beside others' at any time."""

    def __init__(self, store: EventStore, books: Bookkeeping, consumer: Consumer) -> None:
        self._store = store
        self._books = books
        self.consumer = consumer

    def enter(self) -> None:
        """Make sure that the consumer's version is there, as a new build if need be, and that its checkpoints fit the log.

        Raises ProjectionChanged, ForeignCheckpoint, CheckpointAhead, PartitionsDiffer.
        """
        with self._books.database.writing() as connection:
            self._lock(connection)
            rows = self._books.generations(connection, self.consumer.name)
            own = [row for row in rows if row.generation.version == self._version]
            if own:
                self._check(connection, own[-1])
                for row in own[:-1]:
                    if row.state != STANDBY and (row.log_id, row.epoch) == self._log():
                        self._fit_partitions(connection, row)
            elif not any(row.generation.version > self._version for row in rows):
                self._make(connection, 0)

    def rebuild(self) -> Generation:
        """Begin to build the version again, beside the build that serves; return the new build."""
        self._check_is_projection()
        if is_inline(self.consumer):
            raise CannotSwitch(self.consumer.name, "it is inline: give it a new version, which is built beside it")
        with self._books.database.writing() as connection:
            self._lock(connection)
            builds = [row.generation.build for row in self._own(connection)]
            return self._make(connection, max(builds, default=-1) + 1)

    def accept(self) -> None:
        """Take the consumer as it is now for what its tables were built by, and the log for the one it belongs to.

        Checkpoints beyond the log's end are put back to it.
        """
        log = self._log()
        with self._books.database.writing() as connection:
            self._lock(connection)
            for row in self._own(connection):
                self._books.change(
                    connection, row.generation, fingerprint=self.consumer.fingerprint(), log_id=log[0], epoch=log[1]
                )
                self._books.fence_off(connection, row.generation)
                self._books.move_all(connection, row.generation, self._store.head())

    def take_over(self, generation: Generation, goal: int, seconds: float) -> bool:
        """Let a build serve if all of it is done up to `goal`, and up to where the one that serves is; return whether it does.

        Where the one that serves is a little further, it rests for up to `seconds`, so that the new one can pass it; also
        where that one itself is behind the log, and so cannot be asked for what has come since.
        """
        if is_inline(self.consumer) or replaces_inline(self._store, self._books.database, generation.name):
            return self._take_over_alone(generation, goal)
        with self._books.database.writing() as connection:
            self._lock(connection)
            rows = {row.generation: row for row in self._books.generations(connection, generation.name)}
            row = rows.get(generation)
            if row is None or row.state not in IN_THE_MAKING:
                return row is not None and row.state == SERVING
            partitions = self._books.partitions(connection, generation)
            reached = min(one.position for one in partitions)
            before = self._books.serving(connection, generation.name)
            if reached < goal and not (before and self._is_near(connection, before, partitions)):
                return False
            if before is not None:
                if self._books.parked(connection, generation):
                    return False  # the one that serves may lack nothing
                if not self._is_past(connection, row, rows[before], reached):
                    self._books.rest(connection, before, seconds)
                    return False
            self._let_serve(connection, generation)
            return True

    def switch(self, version: int, build: int | None = None) -> Generation:
        """Have another build of the consumer catch up and take over, the last of its version if none is named.

        Raises CannotSwitch; ProjectionChanged and the like where the code is no longer that of the build.
        """
        self._check_is_projection()
        with self._books.database.writing() as connection:
            self._lock(connection)
            row = self._books.named(connection, self.consumer.name, version, build)[-1]
            if row.state != SERVING:
                self._check(connection, row)
                self._books.change(connection, row.generation, state=SWITCHING)
                if row.state not in IN_THE_MAKING:
                    self._books.fence_off(connection, row.generation)  # its partitions may be taken again
            return row.generation

    # --- parts ----------------------------------------------------------------------------------------

    def _take_over_alone(self, generation: Generation, goal: int) -> bool:
        """Let a build serve that is inline, or that replaces one; not before it has come to `goal`.

        Nobody appends while the little that is left is done.
        """
        assert isinstance(self.consumer, Projection)
        with self._books.database.reading() as connection:
            state = {row.generation: row.state for row in self._books.generations(connection, generation.name)}
            reached = min((one.position for one in self._books.partitions(connection, generation)), default=0)
            parked = self._books.parked(connection, generation)
        if state.get(generation) not in IN_THE_MAKING or parked or reached < goal:
            return state.get(generation) == SERVING

        def serve(connection: sa.Connection) -> bool:
            self._lock(connection)
            rows = {row.generation: row for row in self._books.generations(connection, generation.name)}
            may_be = generation in rows and rows[generation].state in IN_THE_MAKING
            if may_be and not self._books.parked(connection, generation):
                self._let_serve(connection, generation)
                return True
            return False

        return register(self._store, self._books, self.consumer, generation, serve)

    def _let_serve(self, connection: sa.Connection, generation: Generation) -> None:
        """Let a build serve in place of the one that does."""
        before = self._books.serving(connection, generation.name)
        if isinstance(self.consumer, Projection):
            show(connection, self.consumer.tables, self.consumer.physical_tables(generation))
        if before is not None:
            self._books.change(connection, before, state=STANDBY)
            self._books.close(connection, before, RESTS)  # whoever still runs it must not go on, nor say how far it is
        self._books.change(connection, generation, state=SERVING)

    @property
    def _version(self) -> int:
        return version_of(self.consumer)

    def _own(self, connection: sa.Connection) -> list[GenerationRow]:
        rows = self._books.generations(connection, self.consumer.name)
        return [row for row in rows if row.generation.version == self._version]

    def _log(self) -> tuple[str, int]:
        identity = self._store.identity
        return str(identity.id), identity.epoch

    def _lock(self, connection: sa.Connection) -> None:
        self._books.lock(connection, self.consumer.name)

    def _make(self, connection: sa.Connection, build: int) -> Generation:
        generation = Generation(self.consumer.name, self._version, build)
        state, tables = SERVING, dict[str, sa.Table]()
        if isinstance(self.consumer, Projection):
            state, tables = BUILDING, self.consumer.physical_tables(generation)
            self._check_free(connection, self.consumer, generation)
            create_tables(connection, tables)
        self._books.enter(
            connection,
            generation,
            state,
            self.consumer.fingerprint(),
            self._log(),
            self._start(connection),
            self.consumer.partitions,
            [table.name for table in tables.values()],
        )
        return generation

    def _check_free(self, connection: sa.Connection, projection: Projection, generation: Generation) -> None:
        """Raise DuplicateConsumer where the database has tables or views of others by the names that a build needs."""
        names = [table.name for table in projection.physical_tables(generation).values()]
        if not self._books.generations(connection, projection.name):  # else they are the views of the build before
            names += [table.name for table in projection.tables.values()]
        inspector, schema = sa.inspect(connection), self._books.database.schema
        there = {*inspector.get_table_names(schema), *inspector.get_view_names(schema)}
        for name in names:
            if name in there:
                what = "something else in the views' database"
                raise DuplicateConsumer(f"the table {name!r}", what, type(projection).__qualname__)

    def _start(self, connection: sa.Connection) -> int:
        """Return the position after which a new build begins: where the first one began, if that was the end of then."""
        start = self.consumer.start
        if start == "end":
            rows = self._books.generations(connection, self.consumer.name)
            return next((row.started for row in rows if (row.log_id, row.epoch) == self._log()), self._store.head())
        if isinstance(start, datetime):
            return self._store.position_at(start)
        return start if isinstance(start, int) else 0

    def _check(self, connection: sa.Connection, row: GenerationRow) -> None:
        consumer = self.consumer
        log, kind = self._log(), self._kind()
        if (row.log_id, row.epoch) != log:
            raise ForeignCheckpoint(consumer.name, (row.log_id, row.epoch), log, kind)
        if isinstance(consumer, Projection) and not is_same(row.fingerprint, consumer.fingerprint()):
            raise ProjectionChanged(consumer.name, consumer.version)
        if is_inline(consumer) and row.state == SERVING:
            return
        furthest = max((one.position for one in self._books.partitions(connection, row.generation)), default=0)
        if furthest > self._store.head() and not self._is_there(furthest):
            raise CheckpointAhead(consumer.name, furthest, self._store.head(), kind)
        self._fit_partitions(connection, row)

    def _kind(self) -> str:
        """Return what the consumer is, as far as that tells what can be done after a restore."""
        if is_inline(self.consumer):
            return "inline"
        return "projection" if isinstance(self.consumer, Projection) else "plain"

    def _fit_partitions(self, connection: sa.Connection, row: GenerationRow) -> None:
        """Deal a build as many partitions as the consumer declares. Raises PartitionsDiffer where they stand apart."""
        consumer = self.consumer
        if row.partitions != consumer.partitions:
            self._books.fence_off(connection, row.generation)  # whoever moves them now is waited for
            partitions = self._books.partitions(connection, row.generation)
            if len({one.position for one in partitions}) > 1 or any(one.stopped_at for one in partitions):
                raise PartitionsDiffer(consumer.name, len(partitions), consumer.partitions)
            self._books.deal(connection, row.generation, partitions[0].position, consumer.partitions)
            for one in self._books.parked(connection, row.generation):
                self._books.move_parked(connection, row.generation, one, partition_of(one.key, consumer.partitions))

    def _is_there(self, position: int) -> bool:
        """Tell whether the log has an event at a position or above, shown to readers already or not."""
        pages = self._store.storage.read_all(Query(), after=position - 1, to=FURTHEST, limit=1, backwards=False)
        return any(True for _ in pages)

    def _is_near(self, connection: sa.Connection, old: Generation, new: Sequence[PartitionRow]) -> bool:
        """Tell whether a new build is a moment from where the old one is."""
        furthest = max(one.position for one in self._books.partitions(connection, old))
        return all(furthest - one.position <= one.speed * NEAR_SECONDS for one in new)

    def _is_past(self, connection: sa.Connection, new: GenerationRow, old: GenerationRow, reached: int) -> bool:
        """Fence the old build off, and tell whether the new one is as far as it came in the log as it is."""
        self._books.fence_off(connection, old.generation)
        if (old.log_id, old.epoch) != (new.log_id, new.epoch):
            return True
        furthest = max(one.position for one in self._books.partitions(connection, old.generation))
        return reached >= furthest or (furthest > self._store.head() and not self._is_there(furthest))

    def _check_is_projection(self) -> None:
        if not isinstance(self.consumer, Projection):
            raise CannotSwitch(self.consumer.name, "it is no projection, so it has no tables to build again")

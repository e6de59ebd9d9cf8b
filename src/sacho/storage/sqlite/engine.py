"""SqliteStorage: the port over one file. Writing, reading, watching and the schema each have a module of their own."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from sacho.errors import DuplicateEventId, InvalidAppend, UnsupportedOperation
from sacho.events import Query, StreamWrite, Write
from sacho.storage.busy import is_busy
from sacho.storage.group_commit import GroupCommit, WritesInGroups
from sacho.storage.idempotency import first_result
from sacho.storage.inline_views import NO_VIEWS, InlineViews, names_in, refuse_import, text_of
from sacho.storage.port import (
    CAPABILITIES,
    Beside,
    Bounds,
    CategoryInfo,
    ImportedEvent,
    InlineView,
    Joining,
    LogIdentity,
    Row,
    Snapshot,
    StreamInfo,
    last_one_by_one,
)
from sacho.storage.sqlite import reading, registering
from sacho.storage.sqlite.backing_up import copy_file
from sacho.storage.sqlite.connecting import (
    DEFAULT_TIMEOUT,
    WRITER_CACHE_KIB,
    ReaderPool,
    open_connection,
    open_plainly,
    translate,
    when_free,
)
from sacho.storage.sqlite.indexing import entries_after, indexed_to, write_index
from sacho.storage.sqlite.inserting import insert_events
from sacho.storage.sqlite.schema import identity_of, prepare
from sacho.storage.sqlite.watching import Watcher
from sacho.storage.sqlite.writing import Writer
from sacho.storage.statistics import Counting, StorageStatistics
from sacho.storage.wakeups import Wakeups

T = TypeVar("T")

IMPORT_ROWS = 1_000

SAVE_SNAPSHOT = "INSERT OR REPLACE INTO snapshots (stream, version, fingerprint, state) VALUES (?, ?, ?, ?)"
LOAD_SNAPSHOT = "SELECT stream, version, fingerprint, state FROM snapshots WHERE stream = ?"
DELETE_SNAPSHOT = "DELETE FROM snapshots WHERE stream = ?"
DELETE_SNAPSHOTS = "DELETE FROM snapshots"
LOG_BYTES = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
NEXT_EPOCH = "UPDATE log SET epoch = epoch + 1"


class SqliteStorage(WritesInGroups):
    """The log in a SQLite file. Implements `sacho.storage.port.Storage`; see there for what each method promises."""

    name = "sqlite"
    capabilities = frozenset(CAPABILITIES) - {"joined-appends", "roles"}

    def __init__(self, path: Path, timeout: float = DEFAULT_TIMEOUT, clock: Callable[[], int] = time.time_ns) -> None:
        """Open or make the file. `timeout`: for how many seconds a write waits for other processes; `clock`: ns since 1970."""
        self.path = path
        self._timeout = timeout
        connection = open_connection(path, timeout=timeout, cache_kib=WRITER_CACHE_KIB)
        try:
            self._identity = prepare(connection, path, timeout)
            connection.execute("PRAGMA busy_timeout = 0")  # from now on `when_free` does the waiting
        except BaseException:
            connection.close()
            raise
        self._counting = Counting()
        self._wakeups = Wakeups()
        self._views = InlineViews()
        self._writer = Writer(connection, path, timeout, clock, self._counting, self._wakeups, self._views)
        self._readers = ReaderPool(path, timeout)
        self._watcher = Watcher(path, self._wakeups)
        self._commits = GroupCommit(self._writer.commit, self.name)

    @property
    def identity(self) -> LogIdentity:
        """The log's id and epoch."""
        return self._identity

    def join(self, connection: object, write: Write, *, is_async: bool) -> Joining:
        """Refuse: there is no transaction to join."""
        raise UnsupportedOperation("joined-appends", self.name, self.capabilities)

    def head(self) -> int:
        """Return the highest position."""
        return self._near(reading.head)

    def bounds(self, stream: str) -> Bounds:
        """Return the head, twice: no append is under way beside it."""
        head = self.head()
        return Bounds(head, head)

    def read(
        self, stream: str, *, after: int, to: int | None, limit: int | None, backwards: bool, head: int
    ) -> Iterator[list[Row]]:
        """Yield pages of one stream."""
        last = head if to is None else min(to, head)
        rows = None if backwards else self._remembered(stream, after, last, head)
        if rows is None:
            yield from reading.read_stream(self._readers.run, self._near, stream, after, last, limit, backwards, head)
        elif rows[:limit]:
            yield rows[:limit]

    def last(self, streams: Sequence[str]) -> list[Row]:
        """Return the last event of each stream."""
        return last_one_by_one(self, streams)

    def read_all(self, query: Query, *, after: int, to: int, limit: int | None, backwards: bool) -> Iterator[list[Row]]:
        """Yield pages of the events that match."""
        return reading.read_query(self._readers.run, query, after, to, limit, backwards)

    def correlated(self, correlation_id: str, *, after: int, to: int) -> Iterator[list[Row]]:
        """Yield pages of the events of one correlation id."""
        return reading.read_correlated(self._readers.run, correlation_id, after, to)

    def find(self, ids: Sequence[bytes]) -> list[Row]:
        """Return the events of these ids."""
        return self._near(partial(reading.find, ids=ids))

    def streams(self, *, category: str | None, after: str, limit: int | None) -> Iterator[list[StreamInfo]]:
        """Yield pages of streams."""
        return reading.streams(self._readers.run, category, after, limit)

    def categories(self) -> list[CategoryInfo]:
        """Return the categories."""
        return self._readers.run(reading.categories)

    def position_at(self, recorded_at: int) -> int:
        """Return the last position recorded at or before a time."""
        return self._readers.run(partial(reading.position_at, recorded_at=recorded_at))

    def listen(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Have `callback(head)` called when the head rises."""
        self._commits.check()
        return self._watcher.listen(callback)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of the earlier one."""
        self._execute(SAVE_SNAPSHOT, snapshot)

    def load_snapshot(self, stream: str) -> Snapshot | None:
        """Return the stream's snapshot, or None."""
        row = self._near(lambda connection: connection.execute(LOAD_SNAPSHOT, (stream,)).fetchone())
        return Snapshot(*row) if row else None

    def delete_snapshots(self, stream: str | None = None) -> None:
        """Drop the snapshot of a stream, or all."""
        if stream is None:
            self._execute(DELETE_SNAPSHOTS, ())
        else:
            self._execute(DELETE_SNAPSHOT, (stream,))

    def import_events(self, events: Iterable[ImportedEvent]) -> int:
        """Write events that keep their place, a thousand to a transaction."""
        self._commits.check()
        source, count = iter(events), 0
        while some := list(islice(source, IMPORT_ROWS)):
            self._in_transaction(lambda connection, some=some: _import(connection, some))  # type: ignore[misc]  # bound
            count += len(some)
        self._wakeups.rise(self.head())
        return count

    def back_up(self, destination: Path, tell: Callable[[int, int], None]) -> SqliteStorage:
        """Copy the log, as it is at one moment, into an empty file, while others write; return that log, opened.

        `tell(done, total)` is called with numbers of pages. Raises StorageError.
        """
        self._commits.check()
        self._readers.run(partial(copy_file, path=self.path, destination=destination, tell=tell))
        return SqliteStorage(destination)

    def begin_epoch(self) -> LogIdentity:
        """Begin a new epoch."""
        self._execute(NEXT_EPOCH, ())
        self._identity = self._readers.run(partial(identity_of, path=self.path))
        return self._identity

    def attach(self, views: Sequence[InlineView]) -> None:
        """Have these views written within the appends of this engine, once the log registers them."""
        self._commits.check()
        self._views.attach(views)

    def inline_views(self) -> tuple[str, ...]:
        """Return the names of the views that the log registers."""
        return names_in(self._near(registering.registered))

    def register_inline(
        self, names: Sequence[str], finish: Callable[[int, Any], None], *, known: Sequence[str] | None = None
    ) -> bool:
        """Have the log register these views, in a transaction beside which nobody writes."""
        self._commits.check()
        return registering.register(
            self.path, self._timeout, text_of(names), finish, None if known is None else text_of(known)
        )

    def beside(self) -> Beside:
        """Return how to open the file for views."""
        return Beside("sqlite", partial(open_plainly, self.path, self._timeout), None)

    def make_roles(self) -> tuple[str, ...]:
        """Refuse: whoever may open the log may do all."""
        raise UnsupportedOperation("roles", self.name, self.capabilities)

    def statistics(self) -> StorageStatistics:
        """Return counts, sizes and the age of the oldest append in flight."""
        size = self._readers.run(lambda connection: connection.execute(LOG_BYTES).fetchone()[0])
        wal = self.path.with_name(self.path.name + "-wal")
        wal_bytes = wal.stat().st_size if wal.exists() else 0
        return self._counting.statistics(size, wal_bytes, self._commits.oldest_seconds())

    def close(self) -> None:
        """Commit what waits, end the threads, close the connections."""
        if self._commits.is_foreign:
            return
        self._commits.close()
        self._watcher.close()
        self._writer.close()
        self._readers.close()

    def _execute(self, statement: str, values: Sequence[object]) -> None:
        self._commits.check()
        self._in_transaction(lambda connection: connection.execute(statement, values))

    def _in_transaction(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Run `work` in a write transaction beside the writer's connection."""

        def transaction(connection: sqlite3.Connection) -> None:
            when_free(lambda: connection.execute("BEGIN IMMEDIATE"), self._timeout, self.path)
            try:
                work(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

        self._readers.run(transaction)

    def _remembered(self, stream: str, after: int, to: int, head: int) -> list[Row] | None:
        """Return the events of a stream if the writer is free and remembers them all, else None."""
        if not self._commits.is_free:
            return None
        with self._commits.turn:
            self._commits.check()
            try:
                return self._writer.known.stream_rows(stream, after, to, head)
            except sqlite3.Error as error:
                if is_busy(error):
                    return None
                raise translate(error, self.path) from error

    def _near(self, work: Callable[[sqlite3.Connection], T], /) -> T:
        """Run short reading work on the writer's connection if it is free, since its cache is warm, else on another."""
        if self._commits.is_free:
            with self._commits.turn:
                self._commits.check()
                try:
                    return work(self._writer.connection)
                except sqlite3.Error as error:
                    if not is_busy(error):
                        raise translate(error, self.path) from error
        return self._readers.run(work)


def _import(connection: sqlite3.Connection, events: Sequence[ImportedEvent]) -> None:
    refuse_import(registering.registered(connection))
    position = reading.head(connection)
    versions: dict[str, int] = {}
    for imported in events:
        if imported.position <= position:
            raise InvalidAppend(f"position {imported.position} does not lie above {position}, the log's last")
        position = imported.position
        if imported.stream is not None:
            version = versions.get(imported.stream)
            if version is None:
                version = reading.version(connection, imported.stream)
            if imported.version != version + 1:
                raise InvalidAppend(f"version {imported.version} of {imported.stream!r} does not follow on {version}")
            versions[imported.stream] = version + 1
    first_result(Write(tuple(StreamWrite(one.stream, [one.event]) for one in events)), ())
    if found := reading.find(connection, [imported.event.id for imported in events]):
        raise DuplicateEventId([UUID(bytes=row[6]) for row in found], "is in the log already")
    entries = [(one.position, one.stream, one.version, one.event, one.recorded_at) for one in events]
    insert_events(connection, entries, indexed_to(connection), NO_VIEWS)
    write_index(connection, entries_after(connection, indexed_to(connection)))

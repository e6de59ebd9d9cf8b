"""PostgresStorage: the port over one schema of a database. Writing, reading, watching and the schema have modules of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg

from sacho.events import Query, Write
from sacho.storage.group_commit import GroupCommit, WritesInGroups
from sacho.storage.inline_views import InlineViews, names_in, text_of
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
)
from sacho.storage.postgres.connecting import Readers, connect, connect_plainly
from sacho.storage.postgres.failures import is_lost, translate
from sacho.storage.postgres.importing import IMPORT_ROWS, check_order, import_batch
from sacho.storage.postgres.joining import steps
from sacho.storage.postgres.reading import Reading
from sacho.storage.postgres.registering import register, registered
from sacho.storage.postgres.schema import begin_epoch, make_roles, prepare
from sacho.storage.postgres.session import Session
from sacho.storage.postgres.settings import PostgresSettings
from sacho.storage.postgres.watching import Notifier, Watcher
from sacho.storage.postgres.writing import Writer
from sacho.storage.statistics import Counting, StorageStatistics
from sacho.storage.wakeups import Wakeups

if TYPE_CHECKING:
    from sacho.storage.postgres.connecting import Connection

T = TypeVar("T")

GATHER_SECONDS: Final = 0.001
"""For how long callers who were told together are waited for. A transaction costs as much as some events, and as all
processes share the server, fewer and larger ones are to the good of all."""

SAVE_SNAPSHOT: Final = """
INSERT INTO {schema}.snapshots (stream, version, fingerprint, state) VALUES (%s, %s, %s, %s)
ON CONFLICT (stream) DO UPDATE SET version = excluded.version, fingerprint = excluded.fingerprint, state = excluded.state
"""
LOAD_SNAPSHOT: Final = "SELECT stream, version, fingerprint, state FROM {schema}.snapshots WHERE stream = %s"
DELETE_SNAPSHOT: Final = "DELETE FROM {schema}.snapshots WHERE stream = %s"
DELETE_SNAPSHOTS: Final = "DELETE FROM {schema}.snapshots"


class PostgresStorage(WritesInGroups):
    """The log in a PostgreSQL schema. Implements `sacho.storage.port.Storage`; see there for what each method promises."""

    name = "postgres"

    def __init__(self, settings: PostgresSettings) -> None:
        """Connect; make or migrate the log where there is none or an older one, if settings and rights allow."""
        self.settings = settings
        session = Session(settings)
        try:
            log = prepare(session.connection, settings)
        except BaseException:
            session.close()
            raise
        self._identity = log.identity
        is_durable = log.is_durable and not settings.is_relaxed
        self.capabilities = frozenset(CAPABILITIES) - (set() if is_durable else {"durable"})
        self._counting = Counting()
        self._wakeups = Wakeups()
        self._readers = Readers(settings)
        self._reading = Reading(self._readers, settings.schema)
        self._watcher = Watcher(settings, log.channel, self._wakeups, self.head)
        self._notifier = Notifier(settings, log.channel)
        self._views = InlineViews()
        self._writer = Writer(session, settings, self._reading.find, self._counting, self._told, self._views)
        self._commits = GroupCommit(self._writer.commit, self.name, GATHER_SECONDS)

    @property
    def identity(self) -> LogIdentity:
        """The log's id and epoch."""
        return self._identity

    def join(self, connection: object, write: Write, *, is_async: bool) -> Joining:
        """Return the steps of an append within a transaction of the application."""
        self._commits.check()
        return steps(connection, write, self.settings, self._identity.id, self._views, is_async=is_async)

    def head(self) -> int:
        """Return the highest position below which nothing can appear any more."""
        return self._reading.head()

    def bounds(self, stream: str) -> Bounds:
        """Return the head, and up to where a stream may be read now: its appends come in turn."""
        return self._reading.bounds(stream)

    def read(
        self, stream: str, *, after: int, to: int | None, limit: int | None, backwards: bool, head: int
    ) -> Iterator[list[Row]]:
        """Yield pages of one stream."""
        return self._reading.stream(stream, after, to, limit, head, backwards=backwards)

    def last(self, streams: Sequence[str]) -> list[Row]:
        """Return the last event of each stream."""
        return self._reading.last(streams)

    def read_all(self, query: Query, *, after: int, to: int, limit: int | None, backwards: bool) -> Iterator[list[Row]]:
        """Yield pages of the events that match."""
        return self._reading.query(query, after, to, limit, backwards=backwards)

    def correlated(self, correlation_id: str, *, after: int, to: int) -> Iterator[list[Row]]:
        """Yield pages of the events of one correlation id."""
        return self._reading.correlated(correlation_id, after, to)

    def find(self, ids: Sequence[bytes]) -> list[Row]:
        """Return the events of these ids."""
        return self._reading.find(ids)

    def streams(self, *, category: str | None, after: str, limit: int | None) -> Iterator[list[StreamInfo]]:
        """Yield pages of streams."""
        return self._reading.streams(category, after, limit)

    def categories(self) -> list[CategoryInfo]:
        """Return the categories."""
        return self._reading.categories()

    def position_at(self, recorded_at: int) -> int:
        """Return the last position recorded at or before a time."""
        return self._reading.position_at(recorded_at)

    def listen(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Have `callback(head)` called when the head rises."""
        self._commits.check()
        return self._watcher.listen(callback)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of the earlier one."""
        self._execute(SAVE_SNAPSHOT, tuple(snapshot))

    def load_snapshot(self, stream: str) -> Snapshot | None:
        """Return the stream's snapshot, or None."""
        rows = self._execute(LOAD_SNAPSHOT, (stream,))
        return Snapshot(*rows[0]) if rows else None

    def delete_snapshots(self, stream: str | None = None) -> None:
        """Drop the snapshot of a stream, or all."""
        if stream is None:
            self._execute(DELETE_SNAPSHOTS, ())
        else:
            self._execute(DELETE_SNAPSHOT, (stream,))

    def import_events(self, events: Iterable[ImportedEvent]) -> int:
        """Write events that keep their place, a thousand to a transaction."""
        self._commits.check()
        source, count, last = iter(events), 0, 0
        while some := list(islice(source, IMPORT_ROWS)):
            last = check_order(some, last)
            self._once(partial(import_batch, settings=self.settings, events=some))
            count += len(some)
        if count:
            self._told(last)
        return count

    def begin_epoch(self) -> LogIdentity:
        """Begin a new epoch."""
        self._identity = self._once(partial(begin_epoch, settings=self.settings))
        return self._identity

    def attach(self, views: Sequence[InlineView]) -> None:
        """Have these views written within the appends of this engine, once the log registers them."""
        self._commits.check()
        self._views.attach(views)

    def inline_views(self) -> tuple[str, ...]:
        """Return the names of the views that the log registers."""
        return names_in(self._readers.run(partial(registered, settings=self.settings)).views)

    def register_inline(
        self, names: Sequence[str], finish: Callable[[int, Any], None], *, known: Sequence[str] | None = None
    ) -> bool:
        """Have the log register these views, in a transaction beside which nobody appends."""
        self._commits.check()
        return register(self.settings, text_of(names), finish, None if known is None else text_of(known))

    def beside(self) -> Beside:
        """Return how to connect to the database for views."""
        return Beside("postgresql", partial(connect_plainly, self.settings), self.settings.schema)

    def make_roles(self) -> tuple[str, ...]:
        """Make the roles for those who read and those who append."""
        return self._once(partial(make_roles, settings=self.settings))

    def statistics(self) -> StorageStatistics:
        """Return counts, the size of the log's tables, and the age of the oldest append in flight.

        The write-ahead log is the whole server's, so its size is told as 0.
        """
        return self._counting.statistics(self._reading.log_bytes(), 0, self._commits.oldest_seconds())

    def close(self) -> None:
        """Commit what waits, tell the others, end the threads, close the connections."""
        if self._commits.is_foreign:
            return
        self._writer.end()
        self._commits.close()
        self._watcher.close()
        self._notifier.close()
        self._writer.close()
        self._readers.close()

    def _told(self, position: int) -> None:
        """See to it that all who wait, here and elsewhere, hear of an append up to a position."""
        self._watcher.poke(position)
        self._notifier.tell(position)

    def _execute(self, statement: str, values: Sequence[object]) -> list[Any]:
        """Run a statement that may be run twice; return its rows."""

        def execute(connection: Connection) -> list[Any]:
            with connection.cursor(binary=True) as cursor:
                cursor.execute(statement.format(schema=self.settings.schema), values)
                return cursor.fetchall() if cursor.description else []

        return self._readers.run(execute)

    def _once(self, work: Callable[[Connection], T]) -> T:
        """Run work that may not be run twice, on a connection of its own."""
        self._commits.check()
        with connect(self.settings) as connection:
            try:
                return work(connection)
            except psycopg.Error as error:
                raise translate(error, self.settings, may_have_happened=is_lost(error)) from error

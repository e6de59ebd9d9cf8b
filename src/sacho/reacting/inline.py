"""Inline: a projection that is written within each append's own transaction, so that it is never behind.

It is built like any other; then, in one transaction in which nobody appends, it is brought up to the log's end and the log
registers its name. From then on who appends writes it too, and a process that does not know it is refused. A build that
takes over from an inline one does so in such a transaction, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from sacho.errors import InvalidConsumer
from sacho.reacting.consumer import partition_of
from sacho.reacting.declaring import EVERY
from sacho.reacting.projection import Projection, is_inline
from sacho.reacting.tables import Generation
from sacho.reacting.taking import HandlerFailed, Taking

if TYPE_CHECKING:
    from sacho.events import RecordedEvent
    from sacho.reacting.bookkeeping import Bookkeeping
    from sacho.reacting.databases import ViewDatabase
    from sacho.storage.port import Row
    from sacho.store import EventStore


def generation_of(projection: Projection) -> Generation:
    """Return the one build of an inline projection's version."""
    return Generation(projection.name, projection.version, 0)


def attach(store: EventStore, database: ViewDatabase, projections: Sequence[Projection]) -> None:
    """Have inline projections written by what the store appends, as soon as the log registers them.

    Raises UnsupportedOperation where the engine cannot, InvalidConsumer where the views live elsewhere.
    """
    if not projections:
        return
    store.require(("inline-views",))
    if not database.is_beside:
        raise InvalidConsumer(
            type(projections[0]).__qualname__, "an inline projection lives in the log's own database; leave out views="
        )
    store.storage.attach([InlineWriter(store, database, projection) for projection in projections])


class InlineWriter:
    """Writes one projection within appends; see `sacho.storage.port.InlineView`. Used by one thread at a time for each connection."""

    def __init__(self, store: EventStore, database: ViewDatabase, projection: Projection) -> None:
        generation = generation_of(projection)
        self.name = str(generation)
        is_of_any = projection.query is not None or EVERY in projection.handlers
        self.types = frozenset() if is_of_any else frozenset(projection.handlers)
        self._query = projection.events()
        self._store = store
        self._database = database
        self._projection = projection.bound(generation, database.dialect, database.schema)
        self._over = Over(database.dialect)

    def take(self, rows: Sequence[Row], connection: Any) -> None:
        """Write what these events change, through the connection of their append."""
        events = self._store.decoding(raw=False).page(list(rows))
        stream = self._projection.stream
        ours = [
            one
            for one in events
            if self._query.matches(one.type, one.tags, one.stream) and stream in {None, one.stream}
        ]
        with self._over.connection(connection) as over:
            taking = _Within(over).taking(self._projection)
            try:
                taking.take(ours, is_replay=False)
            except HandlerFailed as failed:
                raise failed.__cause__ or failed from None
            taking.write(over)


class _Within:
    """What a taking may ask of an append's transaction: its one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._taking: Taking | None = None

    def taking(self, projection: Projection) -> Taking:
        """Return what takes events in for a projection, through this connection."""
        self._taking = projection.taking(self)
        return self._taking

    def commit(self, position: int) -> None:
        """Write what was gathered, so that it is seen; the append commits it."""
        if self._taking is not None:
            self._taking.write(self._connection)
            self._taking.committed()

    def begin(self) -> sa.Connection:
        """Return the connection."""
        return self._connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give the connection."""
        yield self._connection


class Over:
    """SQLAlchemy over connections of the driver whose transactions are somebody else's: it neither begins nor ends any."""

    def __init__(self, dialect: str) -> None:
        driver = "sqlite+pysqlite://" if dialect == "sqlite" else "postgresql+psycopg://"
        self._here = threading.local()
        self._engine = sa.create_engine(
            driver, creator=lambda: self._here.raw, poolclass=NullPool, pool_reset_on_return=None
        )
        for end in ("do_begin", "do_commit", "do_rollback", "do_close", "do_terminate"):
            setattr(self._engine.dialect, end, _leave)

    @contextmanager
    def connection(self, raw: Any) -> Iterator[sa.Connection]:
        """Give a connection of SQLAlchemy over one of the driver; the last one of the thread is kept, since making it takes time."""
        here = self._here
        if getattr(here, "raw", None) is not raw:
            here.raw = raw
            here.connection = self._engine.connect()
        try:
            yield here.connection
        except BaseException:
            here.raw = None
            raise


def replaces_inline(store: EventStore, database: ViewDatabase, name: str) -> bool:
    """Tell whether the log registers a version of a projection, written by appends until another takes over."""
    return database.is_beside and any(one.partition("@")[0] == name for one in store.storage.inline_views())


def register(
    store: EventStore,
    books: Bookkeeping,
    projection: Projection,
    generation: Generation,
    serve: Callable[[sa.Connection], bool],
) -> bool:
    """Bring a build up to the log's end and let it serve, in one transaction beside which nobody appends.

    The log registers it if it is inline, and no other version of it any more. `serve` is called first with the
    transaction, and returns whether the build may serve; nothing happens if not.
    """
    while True:
        before = store.storage.inline_views()
        names = [name for name in before if name.partition("@")[0] != projection.name]
        own = [str(generation)] if is_inline(projection) else []
        finishing = _Finishing(store, books, projection, generation, serve, before)
        try:
            if store.storage.register_inline(sorted([*names, *own]), finishing.finish, known=before):
                return True
        except _MayNot:
            return False


class _MayNot(Exception):
    """The build may not serve yet."""


class _Finishing:
    """What is done of a build in the transaction beside which nobody appends."""

    def __init__(
        self,
        store: EventStore,
        books: Bookkeeping,
        projection: Projection,
        generation: Generation,
        serve: Callable[[sa.Connection], bool],
        before: Sequence[str],
    ) -> None:
        self._store = store
        self._books = books
        self._generation = generation
        self._serve = serve
        self._before = before
        self._over = Over(books.database.dialect)
        self._projection = projection.bound(generation, books.database.dialect, books.database.schema)

    def finish(self, position: int, raw: Any) -> None:
        """Do it, through the connection of the driver."""
        books, generation = self._books, self._generation
        with self._over.connection(raw) as connection:
            if books.database.schema is not None:
                connection.exec_driver_sql(f'SET LOCAL search_path = "{books.database.schema}", public')
            old = books.serving(connection, generation.name)
            books.fence_off(connection, generation)  # whoever builds it now is waited for, and goes on no more
            if not self._serve(connection):
                raise _MayNot
            self._take(position, connection)
            books.pass_all(connection, generation, position)
            if old is not None and str(old) in self._before:
                books.pass_all(connection, old, position)  # the appends wrote it up to here
            if is_inline(self._projection):
                books.close(connection, generation)

    def _take(self, position: int, connection: sa.Connection) -> None:
        """Take what the build has not taken yet."""
        leases = self._books.leases(connection, self._generation)
        taking = _Within(connection).taking(self._projection)
        pages = self._store.storage.read_all(
            self._projection.events(),
            after=min(lease.position for lease in leases),
            to=position,
            limit=None,
            backwards=False,
        )
        done = {lease.partition: lease.position for lease in leases}

        def is_new(one: RecordedEvent) -> bool:
            partition = partition_of(self._projection.key(one), len(done)) if len(done) > 1 else 0
            return one.position > done[partition] and self._projection.stream in {None, one.stream}

        for rows in pages:
            events = self._store.decoding(raw=False).page(rows)
            taking.take([one for one in events if is_new(one)], is_replay=True)
        taking.write(connection)


def _leave(*_: object) -> None:
    """Leave the transaction and the connection to whom they belong."""

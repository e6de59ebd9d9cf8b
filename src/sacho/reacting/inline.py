"""Inline: a projection that is written within each append's own transaction, so that it is never behind.

It is built like any other; then, in one transaction in which nobody appends, it is brought up to the log's end and the log
registers its name. From then on who appends writes it too, and a process that does not know it is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from sacho.errors import InvalidConsumer, LeaseLost
from sacho.reacting.projection import Projection
from sacho.reacting.tables import Generation
from sacho.reacting.taking import HandlerFailed, Taking

if TYPE_CHECKING:
    from sacho.reacting.bookkeeping import Bookkeeping, Lease
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
        self.types = frozenset() if projection.query is not None else frozenset(projection.handlers)
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


def register(
    store: EventStore,
    books: Bookkeeping,
    projection: Projection,
    lease: Lease,
    serve: Callable[[sa.Connection], object],
) -> None:
    """Bring an inline projection up to the log's end and have the log register it, in one transaction.

    Raises LeaseLost where another worker builds it now.
    """
    generation = generation_of(projection)
    bound = projection.bound(generation, books.database.dialect, books.database.schema)

    def finish(connection: sa.Connection, position: int) -> None:
        books.advance(connection, generation, [lease], position, 0)
        taking = _Within(connection).taking(bound)
        pages = store.storage.read_all(
            projection.events(), after=lease.position, to=position, limit=None, backwards=False
        )
        for rows in pages:
            taking.take(store.decoding(raw=False).page(rows), is_replay=True)
        taking.write(connection)
        serve(connection)
        books.close(connection, generation)

    _change(store, books, projection, [str(generation)], finish)


def unregister(
    store: EventStore, books: Bookkeeping, projection: Projection, serve: Callable[[sa.Connection], object]
) -> None:
    """Have appends no longer write what they wrote of a projection, and another build of it serve, in one transaction."""
    _change(store, books, projection, [], lambda connection, _: serve(connection))


def registered(store: EventStore, projection: Projection) -> list[str]:
    """Return the builds of a projection that appends write."""
    return [name for name in store.storage.inline_views() if name.partition("@")[0] == projection.name]


def _change(
    store: EventStore,
    books: Bookkeeping,
    projection: Projection,
    names: Sequence[str],
    finish: Callable[[sa.Connection, int], object],
) -> None:
    """Have the log register these builds of a projection, in place of those that it does. Raises LeaseLost after another's change."""
    over, known = Over(books.database.dialect), store.storage.inline_views()
    gone = [name for name in registered(store, projection) if name not in names]

    def within(position: int, raw: Any) -> None:
        with over.connection(raw) as connection:
            if books.database.schema is not None:
                connection.exec_driver_sql(f'SET LOCAL search_path = "{books.database.schema}", public')
            finish(connection, position)
            for name in gone:  # they were never behind, and had no checkpoint that said so
                version = int(name.partition("@")[2])
                books.put_all(connection, Generation(projection.name, version, 0), position)

    others = [name for name in known if name.partition("@")[0] != projection.name]
    if not store.storage.register_inline(sorted([*others, *names]), within, known=known):
        raise LeaseLost(projection.name)


def _leave(*_: object) -> None:
    """Leave the transaction and the connection to whom they belong."""

"""The database of the views: SQLite or PostgreSQL, beside the log or elsewhere, through SQLAlchemy.

Writing is in short transactions. A commit of views need not reach the disk at once: view and checkpoint go together, so
what a power cut takes is made again from the log.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from sacho.errors import (
    InvalidInput,
    InvalidURL,
    MissingExtra,
    StorageBusy,
    StorageFull,
    StorageUnreachable,
    StoreForked,
    TargetUnreachable,
    ViewsUnreachable,
)
from sacho.storage.busy import primary_code, until_free
from sacho.storage.processes import same_process
from sacho.store.connecting import StoreURL, sqlite_path

if TYPE_CHECKING:
    from sacho.store import EventStore

BUSY_SECONDS: Final = 30.0
CHANGES_AT_ONCE: Final = {"sqlite": 20_000, "postgresql": 1_000}
"""How many changes one transaction is for. PostgreSQL slows down where one transaction changes a row again and again."""
PASSING: Final = (ViewsUnreachable, StorageBusy, StorageFull, StorageUnreachable, TargetUnreachable)
_PASSING_SQLITE: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}
_PASSING_POSTGRES: Final = ("08", "25P03", "40", "53", "55P03", "57", "58")
"""States of a server or transaction, as their codes begin, that say nothing of the statement itself."""
_TOO_LONG: Final = "25P03"


class ViewDatabase:
    """Where views and checkpoints are kept. `where` names it without credentials."""

    is_beside = False
    """Whether it is the log's own database."""

    def __init__(self, dialect: str, connect: Callable[[], Any], where: str, schema: str | None) -> None:
        self.dialect = dialect
        self.where = where
        self.schema = schema
        self.changes_at_once = CHANGES_AT_ONCE[dialect]
        self._held = ExitStack()
        self._is_same_process = same_process()
        self.engine = self._engine(connect, is_writing=False)
        """For reading: SQLAlchemy's engine, whose transactions never lock anything."""
        self._writer = self._engine(connect, is_writing=True)

    @classmethod
    def open(cls, url: str | None, store: EventStore) -> ViewDatabase:
        """Open the database that a URL names; without one, that of the log itself. Raises InvalidURL, MissingExtra."""
        if url is None:
            beside = store.storage.beside()
            if beside is None:
                folder = tempfile.TemporaryDirectory(prefix="sacho-views-")
                database = cls("sqlite", lambda: _sqlite(f"{folder.name}/views.db"), "in a temporary file", None)
                database._held.callback(folder.cleanup)
                return database
            database = cls(beside.dialect, beside.connect, store.url, beside.schema and f"{beside.schema}_views")
            database.is_beside = True
            return database
        parts = StoreURL.parse(url)
        if parts.scheme == "sqlite":
            path = str(sqlite_path(parts))
            return cls("sqlite", lambda: _sqlite(path), str(parts), None)
        if parts.scheme == "postgresql":
            if "schema" in parse_qs(parts.options, keep_blank_values=True):
                raise InvalidURL(
                    f"the views' database {parts} takes no ?schema=; write ?options=-csearch_path%3DNAME for a schema "
                    "that is there"
                )
            return cls("postgresql", _postgres(url), str(parts), None)
        raise InvalidURL(f"views live in sqlite:// or postgresql:// databases, not in {parts}")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection that sees one state of the database. Raises ViewsUnreachable, StoreForked."""
        level = {"isolation_level": "REPEATABLE READ"} if self.dialect == "postgresql" else {}
        with self._told(), self.engine.connect().execution_options(**level) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Give a connection in a transaction that commits at the end. Raises ViewsUnreachable, StoreForked, or what a statement does."""
        with self._told(), self._writer.connect() as connection, connection.begin():
            yield connection

    def now(self) -> sa.ColumnElement[float]:
        """Return the database's clock, in seconds since 1970: all workers go by it."""
        clock = "(julianday('now') - 2440587.5) * 86400.0" if self.dialect == "sqlite" else _POSTGRES_CLOCK
        return sa.literal_column(clock, sa.Double)

    def close(self) -> None:
        """Close all connections that are not in use."""
        if not self._is_same_process():
            return  # they are the parent's
        self.engine.dispose()
        self._writer.dispose()
        self._held.close()

    def told(self, error: Exception) -> Exception:
        """Return an error as users are told of it: ViewsUnreachable for one that lies outside of the statement."""
        if isinstance(error, DBAPIError) and is_passing(error):
            found = ViewsUnreachable(self.where, _first_line(error))
            found.__cause__ = error
            return found
        return error

    @contextmanager
    def _told(self) -> Iterator[None]:
        if not self._is_same_process():
            raise StoreForked
        try:
            yield
        except DBAPIError as error:
            told = self.told(error)
            if told is error:
                raise
            raise told from error

    def _engine(self, connect: Callable[[], Any], *, is_writing: bool) -> sa.Engine:
        driver = "sqlite+pysqlite://" if self.dialect == "sqlite" else "postgresql+psycopg://"
        try:
            engine = sa.create_engine(driver, creator=connect, poolclass=QueuePool, pool_size=4, max_overflow=60)
        except ImportError as error:
            raise MissingExtra("a database of views on PostgreSQL", "postgres") from error
        if self.dialect == "sqlite":
            event.listen(engine, "connect", _busy_at_once if is_writing else _busy_patiently)
            event.listen(engine, "begin", _begin_writing if is_writing else _begin_reading)
        else:
            settings = _settings(self.schema, is_writing=is_writing)
            event.listen(engine, "connect", _prepare_postgres(settings, is_writing=is_writing))
            event.listen(engine, "begin", _begin_pooled(settings))
        return engine


def insert_into(table: sa.Table, dialect: str) -> Any:
    """Return an insert that knows ON CONFLICT, for a dialect. Raises InvalidInput for one of another database."""
    insert = _INSERTS.get(dialect)
    if insert is None:
        raise InvalidInput(f"views and handled ids are kept in SQLite or PostgreSQL, not in {dialect}")
    return insert(table)


_INSERTS: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def is_passing(error: BaseException) -> bool:
    """Tell whether a database or log failed for a reason that lies outside of what was asked: it is down, full, locked.

    So it is with a target of messages that does not answer, which is no message's fault.
    """
    if not isinstance(error, DBAPIError):
        return isinstance(error, PASSING) or (isinstance(error, SQLAlchemyError) and "QueuePool" in str(error))
    if error.connection_invalidated:
        return True
    original: Any = error.orig
    if isinstance(original, sqlite3.Error):
        return primary_code(original) in _PASSING_SQLITE
    state = getattr(original, "sqlstate", None)
    if state is None:
        return isinstance(error, OperationalError)
    return bool(state.startswith(_PASSING_POSTGRES))


def took_too_long(error: BaseException | None) -> bool:
    """Tell whether the server ended a transaction in which nothing was asked of it for too long."""
    while error is not None:
        if getattr(getattr(error, "orig", None), "sqlstate", None) == _TOO_LONG:
            return True
        error = error.__cause__
    return False


def storable(text: str) -> str:
    """Return a text as each database can keep it: PostgreSQL knows no NUL, and none knows half of a surrogate pair."""
    if "\0" not in text and (text.isascii() or _is_whole(text)):
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_POSTGRES_CLOCK: Final = "extract(epoch from clock_timestamp())"


def _sqlite(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _postgres(url: str) -> Callable[[], Any]:
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtra("a database of views on PostgreSQL", "postgres") from error
    return lambda: psycopg.connect(url)


def _busy_at_once(connection: Any, _: object) -> None:
    _prepare_sqlite(connection)
    connection.execute("PRAGMA busy_timeout = 0")  # _begin_writing does the waiting


def _busy_patiently(connection: Any, _: object) -> None:
    _prepare_sqlite(connection)
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1_000):d}")


def _prepare_sqlite(connection: Any) -> None:
    connection.isolation_level = None
    # Of processes that open a new file at once, one makes it WAL, which SQLite's own waiting does not wait for.
    until_free(lambda: connection.execute("PRAGMA journal_mode = WAL"), BUSY_SECONDS)
    connection.execute("PRAGMA synchronous = NORMAL")


def _settings(schema: str | None, *, is_writing: bool) -> dict[str, str]:
    """Return what is set for a session on PostgreSQL."""
    found = {} if schema is None else {"search_path": f'"{schema}", public'}
    if is_writing:
        found |= {"synchronous_commit": "off", "idle_in_transaction_session_timeout": "'5s'"}
    return found


def _prepare_postgres(settings: dict[str, str], *, is_writing: bool) -> Callable[[Any, Any], None]:
    def prepare(connection: Any, record: Any) -> None:
        was_autocommit, connection.autocommit = connection.autocommit, True
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        record.info[_POOLED] = row[0] != connection.info.backend_pid  # it is another than was connected to
        if record.info[_POOLED] or not is_writing:
            # a prepared query fails once where a new version's columns are of other types
            connection.prepare_threshold = None
        if not record.info[_POOLED]:
            for name, value in settings.items():
                connection.execute(f"SET {name} = {value}")
        connection.autocommit = was_autocommit

    return prepare


def _begin_pooled(settings: dict[str, str]) -> Callable[[sa.Connection], None]:
    """Set for each transaction what a session behind a pooler does not keep, or would hand on to others."""

    def begin(connection: sa.Connection) -> None:
        if connection.info.get(_POOLED):
            for name, value in settings.items():
                connection.exec_driver_sql(f"SET LOCAL {name} = {value}")

    return begin


_POOLED: Final = "sacho: a pooler stands between"


def _begin_reading(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: sa.Connection) -> None:
    """Take the lock for writing."""
    raw = connection.connection.driver_connection
    assert raw is not None
    try:
        until_free(lambda: raw.execute("BEGIN IMMEDIATE"), BUSY_SECONDS)
    except sqlite3.OperationalError as error:
        raise OperationalError("BEGIN IMMEDIATE", None, error) from error


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0]

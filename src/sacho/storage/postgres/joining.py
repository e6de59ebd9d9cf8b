"""Appends that join a transaction of the application, on psycopg or SQLAlchemy, blocking or asyncio.

The steps are the same for all of them: what is yielded is called, and awaited where the connection is of asyncio.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from sacho.errors import (
    InlineViewFailed,
    InvalidConnection,
    SachoError,
    StorageError,
    StorageFailed,
    UnsupportedOperation,
)
from sacho.events import Appended, Write
from sacho.storage.idempotency import first_result
from sacho.storage.inline_views import InlineViews
from sacho.storage.port import CAPABILITIES, InlineView, Joining
from sacho.storage.postgres.calls import (
    ACCEPTED,
    ARGUMENTS,
    LONG_ANSWER,
    OTHER_VIEWS,
    Answer,
    Mode,
    arguments,
    outcomes,
    rows_written,
    statement,
)
from sacho.storage.postgres.failures import is_lost, translate
from sacho.storage.postgres.locking import in_order, keys_of
from sacho.storage.postgres.packing import Packed, PackedDumper, packed
from sacho.storage.postgres.reading import COLUMNS, FIND
from sacho.storage.postgres.registering import Registered, take

if TYPE_CHECKING:
    from sacho.storage.postgres.settings import PostgresSettings

HAS_LOG: Final = "SELECT to_regclass('{schema}.log') IS NOT NULL"
LOG: Final = "SELECT id, inline, inline_change FROM {schema}.log"
SAVEPOINT: Final = "SAVEPOINT sacho_append"
RELEASE: Final = "RELEASE SAVEPOINT sacho_append"
ROLL_BACK_TO: Final = "ROLLBACK TO SAVEPOINT sacho_append"
KNOWN: Final = "a psycopg 3 connection, or a connection or session of SQLAlchemy that uses it (postgresql+psycopg://)"
ROLL_BACK: Final = "the transaction failed ({}): roll it back and try again; nothing of it was written"

Step = Callable[[], Any]


def steps(
    connection: object, write: Write, settings: PostgresSettings, log_id: UUID, views: InlineViews, *, is_async: bool
) -> Joining:
    """Append within the transaction of a connection; see `sacho.storage.port.Storage.join`."""
    first_result(write, ())
    raw = yield from _driver(connection)
    _check(raw, is_async=is_async)
    try:
        cursor = raw.cursor(binary=True, row_factory=tuple_row)
        cursor.adapters.register_dumper(Packed, PackedDumper)
        answer = yield from _append(cursor, write, settings, log_id, views)
        return (yield from _result(cursor, write, settings, answer))
    except psycopg.Error as error:
        raise _failure(error, settings) from error


def _append(
    cursor: Any, write: Write, settings: PostgresSettings, log_id: UUID, views: InlineViews
) -> Generator[Step, Any, list[Answer]]:
    """Append with a cursor of the transaction, and have the views that the log registers take the events."""
    while True:
        registered = yield from _registered(cursor, settings, log_id)
        concerned = views.concerned(registered.views, {event.type for part in write.parts for event in part.events})
        if concerned:
            _refuse_async(cursor.connection, concerned)
            yield partial(cursor.execute, SAVEPOINT)
        answer = yield from _called(cursor, write, settings, registered.change)
        if concerned:
            if answer[0].outcome == ACCEPTED:
                yield from _taken(cursor, write, answer, concerned)
            yield partial(cursor.execute, RELEASE)
        if answer[0].outcome != OTHER_VIEWS:
            return answer  # else they were changed meanwhile; now they cannot, under the locks of the transaction


def _registered(cursor: Any, settings: PostgresSettings, log_id: UUID) -> Generator[Step, Any, Registered]:
    """Return which views the log registers. Raises InvalidConnection unless it is the right log."""
    rows = yield from _rows(cursor, HAS_LOG.format(schema=settings.schema), ())
    if rows[0][0]:  # asked first, since an error would take the transaction with it
        rows = yield from _rows(cursor, LOG.format(schema=settings.schema), ())
    if rows[0][0] != log_id:
        raise InvalidConnection(f"the connection is to another log than {settings.shown}; nothing was written")
    return Registered(*rows[0][1:])


def _called(
    cursor: Any, write: Write, settings: PostgresSettings, known_change: int
) -> Generator[Step, Any, list[Answer]]:
    """Call the append function."""
    mode = Mode(
        careful=True,
        relaxed=settings.is_relaxed,
        lock_wait=int(1_000 * settings.timeout),
        idle=int(1_000 * settings.joined_timeout),
        known_change=known_change,
    )
    values = packed(arguments([write], in_order(keys_of(write)), mode))
    call = statement(settings.schema, ["%b"] * len(ARGUMENTS), LONG_ANSWER)
    rows = yield from _rows(cursor, call, values)
    return [Answer(*row) for row in rows]


def _taken(cursor: Any, write: Write, answer: list[Answer], views: Sequence[InlineView]) -> Generator[Step, Any, None]:
    """Have views take the events; undo the append, and only that, where one fails."""
    connection = cursor.connection
    made, connection.row_factory = connection.row_factory, tuple_row  # the application's own is none of theirs
    try:
        take(views, rows_written([write], answer), connection)
    except InlineViewFailed:
        yield partial(cursor.execute, ROLL_BACK_TO)
        yield partial(cursor.execute, RELEASE)
        raise
    finally:
        connection.row_factory = made


def _refuse_async(raw: object, views: Sequence[InlineView]) -> None:
    """Raise UnsupportedOperation for a connection of asyncio, on which views cannot be written."""
    if isinstance(raw, psycopg.AsyncConnection):
        names = ", ".join(view.name for view in views)
        remedy = f"the inline views {names} are written on a blocking connection: join one, or append by itself"
        raise UnsupportedOperation("inline-views over asyncio", "postgres", CAPABILITIES, remedy)


def _result(
    cursor: Any, write: Write, settings: PostgresSettings, answer: list[Answer]
) -> Generator[Step, Any, list[Appended]]:
    """Return what the answer says. Raises what it refuses."""
    (outcome,) = outcomes([write], answer)
    if outcome is None:
        ids = [event.id.hex() for part in write.parts for event in part.events]
        found = yield from _rows(cursor, FIND.format(schema=settings.schema, columns=COLUMNS), {"ids": ids})
        outcome = first_result(write, found)
    if isinstance(outcome, SachoError):
        raise outcome
    return outcome or []


def _rows(cursor: Any, statement: str, values: Any) -> Generator[Step, Any, list[Any]]:
    yield lambda: cursor.execute(statement, values)
    rows: list[Any] = yield cursor.fetchall
    return rows


def _driver(connection: object) -> Generator[Step, Any, Any]:
    """Return the psycopg connection behind what the application holds. Raises InvalidConnection."""
    if isinstance(connection, psycopg.Connection | psycopg.AsyncConnection):
        return connection
    if _is_of("sqlalchemy.orm", "Session", connection) or _is_of("sqlalchemy.ext.asyncio", "AsyncSession", connection):
        connection = yield connection.connection  # type: ignore[attr-defined]  # a session has one
    session: Any = connection
    if _is_of("sqlalchemy.ext.asyncio", "AsyncConnection", session):
        proxied = yield session.get_raw_connection
    elif _is_of("sqlalchemy", "Connection", session):
        proxied = session.connection
    else:
        raise InvalidConnection(f"{type(session).__name__} cannot be joined; it takes {KNOWN}")
    if session.get_transaction() is None:
        raise InvalidConnection("no transaction is open to join; begin one first: with connection.begin(): ...")
    return proxied.driver_connection


def _is_of(module: str, name: str, connection: object) -> bool:
    """Tell whether something is of a class of SQLAlchemy, which is imported already if it is."""
    cls = getattr(sys.modules.get(module), name, None)
    return cls is not None and isinstance(connection, cls)


def _check(raw: object, *, is_async: bool) -> None:
    """Raise InvalidConnection unless it is a psycopg connection of the right kind that is in a transaction, or begins one."""
    if not isinstance(raw, psycopg.Connection | psycopg.AsyncConnection):
        raise InvalidConnection(f"a connection of {type(raw).__module__} cannot be joined; it takes {KNOWN}")
    if isinstance(raw, psycopg.AsyncConnection) is not is_async:
        other = "connect_async()" if not is_async else "connect()"
        raise InvalidConnection(f"{type(raw).__name__} cannot be joined by this store; use one made by sacho.{other}")
    if raw.autocommit and raw.info.transaction_status == TransactionStatus.IDLE:
        raise InvalidConnection("no transaction is open to join; begin one first: with connection.transaction(): ...")


def _failure(error: psycopg.Error, settings: PostgresSettings) -> StorageError:
    """Return the typed error; what failed on the server has taken the whole transaction with it."""
    code = error.sqlstate or ""
    if code[:2] in {"23", "40"} or code in {"55P03", "57014"}:
        return StorageFailed(ROLL_BACK.format(error.diag.message_primary))
    failure = translate(error, settings)
    if is_lost(error):
        return StorageFailed(f"{failure}; nothing of the transaction was written, unless it was committing")
    return failure

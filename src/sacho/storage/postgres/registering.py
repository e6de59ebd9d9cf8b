"""Registering inline views, and having them take events within a transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus

from sacho.errors import CorruptLog, StorageFailed
from sacho.storage.inline_views import NO_VIEWS, failed, write_views
from sacho.storage.port import InlineView, Row
from sacho.storage.postgres.connecting import Connection, connect_plainly
from sacho.storage.postgres.failures import is_lost, is_passing, translate, unreachable
from sacho.storage.postgres.locking import ALL

if TYPE_CHECKING:
    from sacho.storage.postgres.settings import PostgresSettings

REGISTERED: Final = "SELECT inline, inline_change FROM {schema}.log"
PREPARE: Final = """
SELECT set_config('lock_timeout', %s, true),
       CASE WHEN %s AND current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END
"""
ALONE: Final = "SELECT pg_advisory_xact_lock(key_locks, %s) FROM {schema}.log"
"""Wait for the appends under way, and have others wait."""
LAST: Final = "SELECT coalesce(max(position), 0) FROM {schema}.event_rows"
REGISTER: Final = "SELECT {schema}.register_inline(%s, %s)"

NOT_OF_A_VIEW: Final = ("55P03", "53", "58")
"""Codes, or beginnings of them, of failures that are no view's: a lock that others hold, a full disk, a broken server."""


class Registered(NamedTuple):
    """Which views a log registers, as one text, and the number of the change that entered them."""

    views: str
    change: int


NOTHING: Final = Registered(NO_VIEWS, 0)
"""What a new log registers."""


def registered(connection: Connection, settings: PostgresSettings) -> Registered:
    """Return which views the log registers."""
    row = connection.execute(REGISTERED.format(schema=settings.schema)).fetchone()
    if row is None:
        raise CorruptLog(settings.shown, "the row that names the log is missing")
    return Registered(*row)


def register(settings: PostgresSettings, text: str, finish: Callable[[int, Any], None], known: str | None) -> bool:
    """Have `finish` bring the views up to the last position and enter their names, in one transaction; see the port."""
    try:
        connection = connect_plainly(settings)
    except psycopg.Error as error:
        raise unreachable(error, settings) from None
    try:
        try:
            position = _alone(connection, settings)
            if known is not None and registered(connection, settings).views != known:
                return False
        except psycopg.Error as error:
            raise translate(error, settings) from error
        finish(position, connection)
        if connection.info.transaction_status != TransactionStatus.INTRANS:
            raise StorageFailed("what brings the inline views up to date ended its transaction; nothing was registered")
        try:
            connection.execute(REGISTER.format(schema=settings.schema), (ALL, text))
            connection.commit()
        except psycopg.Error as error:
            raise translate(error, settings, may_have_happened=is_lost(error)) from error
        return True
    finally:
        connection.close()


def _alone(connection: Connection, settings: PostgresSettings) -> int:
    """Begin a transaction beside which nobody appends; return the last position."""
    connection.isolation_level = IsolationLevel.READ_COMMITTED
    connection.execute(PREPARE, (f"{int(1_000 * settings.timeout)}ms", not settings.is_relaxed))
    connection.execute(ALONE.format(schema=settings.schema), (ALL >> 1,))
    row = connection.execute(LAST.format(schema=settings.schema)).fetchone()
    return 0 if row is None else int(row[0])


def take(views: Sequence[InlineView], rows: Sequence[Row], connection: psycopg.Connection[Any]) -> None:
    """Have views take events within the connection's transaction.

    Raises InlineViewFailed, or the psycopg.Error behind what a view raised where the view is not to blame.
    """
    for view in views:
        write_views((view,), rows, connection, _of_the_server)
        status = connection.info.transaction_status
        if status in {TransactionStatus.INERROR, TransactionStatus.ACTIVE}:
            raise failed(view.name, RuntimeError("it hid an error of the database, or left a statement under way"))
        if status == TransactionStatus.IDLE:
            raise StorageFailed(f"the inline view {view.name!r} ended the append's transaction", may_have_happened=True)


def commit(views: Sequence[InlineView], work: Callable[[], None]) -> None:
    """Commit; a constraint that was deferred until now is that of a view. Raises InlineViewFailed or psycopg.Error."""
    try:
        work()
    except psycopg.IntegrityError as error:
        raise failed(", ".join(view.name for view in views), error) from error


def _of_the_server(error: Exception) -> Exception | None:
    """Return the error of psycopg behind what a view raised, if the connection, a lock or a deadlock is to blame."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, psycopg.Error) and _is_of_the_server(behind):
            return behind
        behind = behind.__cause__
    return None


def _is_of_the_server(error: psycopg.Error) -> bool:
    return is_lost(error) or is_passing(error) or (error.sqlstate or "").startswith(NOT_OF_A_VIEW)

"""The connection that appends: one call of the database's append function at a time, bounded in time.

Below psycopg's cursors, on its layer over libpq: a third of an append's time on the client is saved. A call is a
transaction of its own, or stands in one with what the inline views write, on psycopg's own cursors.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from sacho.storage.postgres.calls import ARGUMENTS, LONG_ANSWER, Answer, answers, statement
from sacho.storage.postgres.connecting import Connection, connect
from sacho.storage.postgres.failures import unreachable

if TYPE_CHECKING:
    from sacho.storage.postgres.settings import PostgresSettings

NAME: Final = b"sacho_append"
LONG_NAME: Final = b"sacho_append_for_views"
LIMITS: Final = """
SELECT set_config('lock_timeout', %s, false), set_config('idle_in_transaction_session_timeout', %s, false)
"""
"""The longest wait for a lock; and for how long a transaction may be idle, since one with views may hold up others."""
BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
BEGIN_POOLED: Final = f"{BEGIN}; SET LOCAL idle_in_transaction_session_timeout = {{idle:d}}"
GRACE_SECONDS: Final = 5.0
"""How much longer than the longest wait for a lock an answer may take before the server counts as lost."""
FORMATS: Final = [pq.Format.BINARY] * len(ARGUMENTS)


class CommitDoubtful(psycopg.OperationalError):
    """The server warned at the commit: a wait for standbys was cancelled, so the append may be on the primary alone."""


class AnswerLate(psycopg.OperationalError):
    """No answer came in time; the append may have happened."""


class Session:
    """A connection with the append function prepared. Used by one thread at a time."""

    def __init__(self, settings: PostgresSettings) -> None:
        """Connect. Raises StorageUnreachable or UnsupportedServer."""
        self.connection: Connection = connect(settings)
        self._pgconn = self.connection.pgconn
        self._patience = settings.timeout + GRACE_SECONDS
        places = [f"${place}" for place in range(1, len(ARGUMENTS) + 1)]
        self._statements = {
            NAME: statement(settings.schema, places).encode(),
            LONG_NAME: statement(settings.schema, places, LONG_ANSWER).encode(),
        }
        self._prepared: set[bytes] = set()
        self._warning: str | None = None
        self.connection.add_notice_handler(self._notice)
        self._is_pooled = self.connection.prepare_threshold is None
        self.lock_wait: int | None = int(1_000 * settings.timeout)
        """What the append function is to be told of waiting for locks: none where the session has been told."""
        idle = int(1_000 * settings.joined_timeout)
        self._begin = (BEGIN_POOLED.format(idle=idle) if self._is_pooled else BEGIN).encode()
        if not self._is_pooled:
            try:
                self.connection.execute(LIMITS, (f"{self.lock_wait}ms", f"{idle}ms"))
            except psycopg.Error as error:
                self.connection.close()
                raise unreachable(error, settings) from error
            self.lock_wait = None
        self._poll = select.poll()
        self._poll.register(self._pgconn.socket, select.POLLIN)

    def append(self, values: Sequence[bytes | None], name: bytes = NAME) -> list[Answer]:
        """Call the function and return its answer, a long one for LONG_NAME.

        Raises psycopg.Error; then the connection may be broken.
        """
        return answers(self._asked(partial(self._send_append, values, name)))

    def begin(self) -> None:
        """Begin a transaction. Raises psycopg.Error."""
        self._asked(partial(self._pgconn.send_query, self._begin))

    def commit(self) -> None:
        """Commit it. Raises psycopg.Error."""
        self._asked(partial(self._pgconn.send_query, b"COMMIT"))

    def roll_back(self) -> None:
        """Roll it back; a connection on which that fails is closed."""
        if self.connection.closed or self._pgconn.transaction_status == pq.TransactionStatus.IDLE:
            return
        try:
            self._asked(partial(self._pgconn.send_query, b"ROLLBACK"))
        except psycopg.Error:
            self.close()

    def _send_append(self, values: Sequence[bytes | None], name: bytes) -> None:
        if self._is_pooled:
            self._pgconn.send_query_params(self._statements[name], values, None, FORMATS, pq.Format.BINARY)
            return
        if name not in self._prepared:
            _checked(self._pgconn.prepare(name, self._statements[name]))
            self._prepared.add(name)
        self._pgconn.send_query_prepared(name, values, FORMATS, pq.Format.BINARY)

    def _asked(self, send: Callable[[], None]) -> Any:
        """Send a query and return its result. Raises psycopg.Error."""
        self._warning = None
        try:
            send()
            result = self._last_result()
        except BaseException:
            self.close()
            raise
        if result is None:
            self.close()
            raise psycopg.OperationalError("the connection was lost")
        if self._warning is not None:
            self.close()
            raise CommitDoubtful(self._warning)
        return _checked(result)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warning = notice.message_primary

    def _last_result(self) -> Any:
        """Return what the server said last: the rows come before the commit, which may fail or be cut off yet."""
        result = None
        while True:
            self._wait()
            following = self._pgconn.get_result()
            if following is None:
                return result
            result = following

    def _wait(self) -> None:
        """Send what is left to be sent, and wait until the answer is there."""
        pgconn, ends = self._pgconn, time.monotonic() + self._patience
        while pgconn.flush():
            self._poll.modify(pgconn.socket, select.POLLIN | select.POLLOUT)
            self._hear(ends)
            self._poll.modify(pgconn.socket, select.POLLIN)
        while pgconn.is_busy():
            self._hear(ends)

    def _hear(self, ends: float) -> None:
        if not self._poll.poll(1_000) and time.monotonic() > ends:
            raise AnswerLate("the server did not answer")
        self._pgconn.consume_input()


def _checked(result: Any) -> Any:
    if result.status not in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}:
        raise error_from_result(result)
    return result

"""The connection that appends: one call of the database's append function at a time, bounded in time.

Below psycopg's cursors, on its layer over libpq: a third of an append's time on the client is saved.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from sacho.storage.postgres.calls import ARGUMENTS, Answer, answers, statement
from sacho.storage.postgres.connecting import Connection, connect

if TYPE_CHECKING:
    from sacho.storage.postgres.settings import PostgresSettings

NAME: Final = b"sacho_append"
LOCK_WAIT: Final = "SELECT set_config('lock_timeout', %s, false)"
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
        self._statement = statement(settings.schema, [f"${place}" for place in range(1, len(ARGUMENTS) + 1)]).encode()
        self._warning: str | None = None
        self.connection.add_notice_handler(self._notice)
        self._is_pooled = self.connection.prepare_threshold is None
        self.lock_wait: int | None = int(1_000 * settings.timeout)
        """What the append function is to be told of waiting for locks: none where the session has been told."""
        if not self._is_pooled:
            self.connection.execute(LOCK_WAIT, (f"{self.lock_wait}ms",))
            self.lock_wait = None
        self._is_prepared = False
        self._poll = select.poll()
        self._poll.register(self._pgconn.socket, select.POLLIN)

    def append(self, values: Sequence[bytes | None]) -> list[Answer]:
        """Call the function and return its answer. Raises psycopg.Error; then the connection may be broken."""
        pgconn = self._pgconn
        self._warning = None
        try:
            if not self._is_prepared and not self._is_pooled:
                _checked(pgconn.prepare(NAME, self._statement))
                self._is_prepared = True
            if self._is_prepared:
                pgconn.send_query_prepared(NAME, values, FORMATS, pq.Format.BINARY)
            else:
                pgconn.send_query_params(self._statement, values, None, FORMATS, pq.Format.BINARY)
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
        return answers(_checked(result))

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

"""Connections: made one way, checked once, pooled for readers, made anew when they are lost.

Each statement is a transaction of its own, so a pooler in transaction mode may stand between: then nothing is set for the
session and nothing is prepared.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from sacho.errors import StoreClosed, StoreForked, UnsupportedServer
from sacho.storage.postgres.failures import is_lost, is_passing, translate, unreachable
from sacho.storage.processes import same_process

if TYPE_CHECKING:
    from sacho.storage.postgres.settings import PostgresSettings

T = TypeVar("T")

Connection = psycopg.Connection[tuple[Any, ...]]

OLDEST_SERVER: Final = 140_000
PREPARE_AFTER: Final = 2
LONGEST_PAUSE: Final = 0.5
IDLE_SECONDS: Final = 300.0
RECONNECT_SECONDS: Final = 1.0
"""For how long the pool tries to connect before it is asked anew: left alone, it pauses longer each time, and a server
that is back would wait for it."""

BACKEND: Final = "SELECT pg_backend_pid()"
SESSION: Final = """
SELECT set_config('default_transaction_isolation', 'read committed', false),
       set_config('plan_cache_mode', 'force_generic_plan', false),
       set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false)
"""
"""Plans that do not depend on statistics: each statement has one index that gives its rows in order, and uses it."""


def connect(settings: PostgresSettings) -> Connection:
    """Connect, in autocommit. Raises StorageUnreachable or UnsupportedServer."""
    try:
        connection = psycopg.connect(**settings.parameters, autocommit=True)  # type: ignore[arg-type]  # names are libpq's
    except psycopg.Error as error:
        raise unreachable(error, settings) from None
    try:
        prepare_session(connection)
    except psycopg.Error as error:
        connection.close()
        raise translate(error, settings) from None
    if connection.info.server_version < OLDEST_SERVER:
        version = connection.info.parameter_status("server_version")
        connection.close()
        raise UnsupportedServer(settings.shown, f"PostgreSQL {version} is too old; Sacho needs 14 or newer")
    return connection


def connect_plainly(settings: PostgresSettings) -> Connection:
    """Connect for others than the log, with psycopg's own defaults. Raises what psycopg does."""
    name = f"{settings.parameters.get('application_name', 'sacho')}-views"
    return psycopg.connect(**{**settings.parameters, "application_name": name})  # type: ignore[arg-type]  # libpq's names


def prepare_session(connection: Connection) -> None:
    """Set what is set for a session, and prepare statements, unless a pooler stands between."""
    if is_pooled(connection):
        connection.prepare_threshold = None
    else:
        connection.prepare_threshold = PREPARE_AFTER
        connection.execute(SESSION)


def is_pooled(connection: Connection) -> bool:
    """Tell whether the backend is another than the one that the connection was made to: a pooler stands between."""
    row = connection.execute(BACKEND).fetchone()
    return row is not None and row[0] != connection.info.backend_pid


class Retrying:
    """Pauses between attempts, longer each time, until the time is over."""

    def __init__(self, timeout: float) -> None:
        self._ends = time.monotonic() + timeout
        self._pause = 0.005

    @property
    def left(self) -> float:
        """How many seconds are left, at least a moment."""
        return max(self._ends - time.monotonic(), 0.001)

    def pause(self) -> bool:
        """Wait a moment and return True; return False at once when the time is over."""
        if time.monotonic() + self._pause > self._ends:
            return False
        time.sleep(self._pause * (0.5 + random.random()))
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return True


class Readers:
    """Connections for reading, lent for one statement at a time, so none holds a snapshot open."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._is_same_process = same_process()
        self._closed = False
        self.losses = 0
        """How often a connection was lost."""
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            kwargs={**settings.parameters, "autocommit": True},
            min_size=0,
            max_size=settings.pool,
            max_idle=IDLE_SECONDS,
            timeout=settings.timeout,
            reconnect_timeout=RECONNECT_SECONDS,
            configure=prepare_session,
            name="sacho-postgres-readers",
            open=True,
        )

    def run(self, work: Callable[[Connection], T], /) -> T:
        """Run work that may be repeated on a connection; again, for a while, where the server was lost.

        Raises StoreClosed, StoreForked, or the typed error for what psycopg raises.
        """
        retrying = Retrying(self._settings.timeout)
        while True:
            self._check()
            try:
                with self._pool.connection(timeout=min(retrying.left, RECONNECT_SECONDS)) as connection:
                    return work(connection)
            except PoolTimeout as error:
                if retrying.left > RECONNECT_SECONDS:
                    continue
                connect(self._settings).close()  # says so where it is the server that does not answer
                raise translate(error, self._settings) from None
            except psycopg.Error as error:
                self._check()
                self.losses += is_lost(error)
                if not (is_lost(error) or is_passing(error)) or not retrying.pause():
                    raise translate(error, self._settings) from error
                self._pool.check()

    def close(self) -> None:
        """Close the idle connections; those that are lent out are closed when they come back."""
        self._closed = True
        self._pool.close()

    def _check(self) -> None:
        if not self._is_same_process():
            raise StoreForked
        if self._closed:
            raise StoreClosed

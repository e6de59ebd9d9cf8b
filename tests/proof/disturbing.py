"""What others may do on the same PostgreSQL server: kill backends, hold transactions and advisory locks, keep another log."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any

import psycopg

import sacho
from sacho import Append, RawEvent
from servers.postgres import fresh_database
from tests.postgres_server import fresh_schema, without_schema
from tests.proof.processes import WAIT, until
from tests.proof.slow_appends import SlowAppends, encoded

TERMINATE = """
SELECT pg_terminate_backend(pid)
FROM (SELECT pid FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1)
"""
TERMINATE_ALL = """
SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = %s AND pid <> pg_backend_pid()
"""
STILL_THERE = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s)"
ORDER_LOCKS = "SELECT order_locks FROM {schema}.log"
NAME = "sacho killed"
"""The name by which those connections go that may be killed."""


def named(url: str) -> str:
    """Return the URL of a log whose connections may be killed."""
    return f"{url}&application_name={NAME.replace(' ', '%20')}"


@contextmanager
def killing(url: str, pause: float) -> Iterator[list[int]]:
    """Kill a backend of a name, chosen at random, again and again; the list grows by one for each.

    Before each, there is time for somebody to connect, however busy the machine is: else nobody might ever succeed.
    """
    server, _ = without_schema(url)
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        random = Random()
        with psycopg.connect(server, autocommit=True, application_name="sacho kills") as connection:
            while not over.is_set():
                connection.execute("SELECT pg_sleep(%s)", (random.random() * 2 * pause,))
                psycopg.connect(server, application_name="sacho kills").close()
                killed.extend(row[0] for row in connection.execute(TERMINATE, (NAME,)).fetchall())

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join(WAIT)


def killed_all(url: str) -> int:
    """Kill all backends of a name, wait until they are gone, and return how many there were."""
    server, _ = without_schema(url)
    with psycopg.connect(server, autocommit=True, application_name="sacho kills") as connection:
        killed = [row[0] for row in connection.execute(TERMINATE_ALL, (NAME,))]
        until(lambda: connection.execute(STILL_THERE, (killed,)).fetchall() == [(0,)])
        return len(killed)


@contextmanager
def foreign(url: str) -> Iterator[None]:
    """Hold all that may look like an append in flight to those who do not look closely.

    Long transactions with an id, with a snapshot and locks of tables, here and in another database; advisory locks of
    both forms with the log's own number and without; another log with an append in flight.
    """
    server, schema = without_schema(url)
    with ExitStack() as stack:
        order_locks = _one(server, ORDER_LOCKS.format(schema=schema))
        other = stack.enter_context(fresh_database(server))
        for place in (server, other):
            _hold(stack, place, ["SELECT pg_current_xact_id()"])
            _hold(stack, place, ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM pg_class"])
            _hold(stack, place, [f"SELECT pg_advisory_xact_lock({(order_locks << 32) + n})" for n in range(50)])
            _hold(stack, place, [f"SELECT pg_advisory_lock_shared({n})" for n in (-1, 0, 1, order_locks)])
            _hold(stack, place, [f"SELECT pg_advisory_xact_lock_shared({order_locks - 1}, {n})" for n in range(50)])
        _hold(stack, other, [f"SELECT pg_advisory_xact_lock_shared({order_locks}, {n})" for n in range(50)])
        _hold(stack, server, [f"SELECT count(*) FROM {schema}.event_rows"])
        beside = stack.enter_context(fresh_schema(server))
        with sacho.connect(beside):
            pass
        slow = SlowAppends(beside, Random(), 0.0)
        stack.callback(slow.close)
        stack.enter_context(slow.transaction(rolls_back=True))
        slow.append(encoded([Append("beside-1", [RawEvent("InFlight", None)])]))
        yield


def _hold(stack: ExitStack, server: str, statements: list[str]) -> None:
    connection = stack.enter_context(psycopg.connect(server, application_name="sacho foreign"))
    for statement in statements:
        connection.execute(statement)


def _one(server: str, statement: str) -> Any:
    with psycopg.connect(server, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
        assert row is not None
        return row[0]

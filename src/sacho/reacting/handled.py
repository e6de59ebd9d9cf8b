"""Handled ids: lets a handler that may be called twice have its effect once, in a database of its own."""

from __future__ import annotations

import time
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from sacho.errors import InvalidInput
from sacho.reacting.consumer import Delivery
from sacho.reacting.tables import handled

_INSERTS: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class HandledIds:
    """The ids of messages whose effects are in a database (SQLite or PostgreSQL), kept by the transaction of the effect.

        handled = HandledIds("notices")
        handled.make_table(engine)

        with engine.begin() as connection:
            if handled.is_new(connection, delivery):
                connection.execute(...)

    The table is `sacho_handled`; `consumer` keeps the ids of several consumers apart.
    """

    def __init__(self, consumer: str) -> None:
        self.consumer = consumer

    def make_table(self, engine: sa.Engine) -> None:
        """Make the table, if it is not there."""
        handled.create(engine, checkfirst=True)

    def is_new(self, connection: sa.Connection, delivery: Delivery) -> bool:
        """Note a message as handled, in the connection's transaction; return False if it was noted before.

        A second call that runs at the same time waits for the first one's transaction.
        """
        insert = _INSERTS.get(connection.dialect.name)
        if insert is None:
            raise InvalidInput(f"handled ids are kept in SQLite or PostgreSQL, not in {connection.dialect.name}")
        values = {
            "consumer": self.consumer,
            "message_id": str(delivery.message_id),
            "handled_at": time.time(),
        }
        noted = insert(handled).values(**values).on_conflict_do_nothing().returning(handled.c.message_id)
        return connection.execute(noted).first() is not None

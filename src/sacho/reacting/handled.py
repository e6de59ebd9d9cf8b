"""Handled ids: lets a handler that may be called twice have its effect once, in a database of its own."""

from __future__ import annotations

import time

import sqlalchemy as sa

from sacho.reacting.bookkeeping import MAKE_LOCK
from sacho.reacting.consumer import Delivery
from sacho.reacting.databases import insert_into
from sacho.reacting.tables import handled


class HandledIds:
    """The ids of messages whose effects are in a database (SQLite or PostgreSQL), kept by the transaction of the effect.

        handled = HandledIds("notices")
        handled.make_table(engine)

        with engine.begin() as connection:
            if handled.is_new(connection, delivery):
                connection.execute(...)

    The table is `sacho_handled`; `consumer` keeps the ids of several consumers apart. A SQLite file that several processes
    write is best in WAL mode.
    """

    def __init__(self, consumer: str) -> None:
        self.consumer = consumer

    def make_table(self, engine: sa.Engine) -> None:
        """Make the table, if it is not there. Any number of processes may do so at once."""
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":  # whose IF NOT EXISTS does not wait for who makes it just now
                connection.exec_driver_sql(MAKE_LOCK)
            connection.execute(sa.schema.CreateTable(handled, if_not_exists=True))

    def is_new(self, connection: sa.Connection, delivery: Delivery) -> bool:
        """Note a message as handled, in the connection's transaction; return False if it was noted before.

        A second call that runs at the same time waits for the first one's transaction.
        """
        values = {
            "consumer": self.consumer,
            "message_id": str(delivery.message_id),
            "handled_at": time.time(),
        }
        insert = insert_into(handled, connection.dialect.name)
        noted = insert.values(**values).on_conflict_do_nothing().returning(handled.c.message_id)
        return connection.execute(noted).first() is not None

"""Registering inline views: which of them each append must write stands in the log itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sacho.errors import StorageFailed
from sacho.storage.sqlite import reading
from sacho.storage.sqlite.connecting import WRITER_CACHE_KIB, open_connection, translated, when_free

REGISTERED: Final = "SELECT inline FROM log"
REGISTER: Final = "UPDATE log SET inline = ?"


def registered(connection: sqlite3.Connection) -> str:
    """Return which views the log registers."""
    (text,) = connection.execute(REGISTERED).fetchone()
    return str(text)


def register(path: Path, timeout: float, text: str, finish: Callable[[int, Any], None], known: str | None) -> bool:
    """Have `finish` bring the views up to the head and enter their names, in one transaction; see the port."""
    connection = open_connection(path, timeout=timeout, cache_kib=WRITER_CACHE_KIB)
    try:
        when_free(lambda: connection.execute("BEGIN IMMEDIATE"), timeout, path)
        with translated(path):
            if known is not None and registered(connection) != known:
                return False
            position = reading.head(connection)
        finish(position, connection)
        if not connection.in_transaction:
            raise StorageFailed("what brings the inline views up to date ended its transaction; nothing was registered")
        with translated(path):
            connection.execute(REGISTER, (text,))
            connection.execute("COMMIT")
        return True
    finally:
        connection.close()

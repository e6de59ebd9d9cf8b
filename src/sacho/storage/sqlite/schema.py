"""The file's own schema: recognised, created or migrated when it is opened, in one transaction, by one process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from sacho.errors import CorruptLog, ForeignDatabase, NewerSchema, StorageFailed
from sacho.storage.port import LogIdentity
from sacho.storage.sqlite.connecting import translated, when_free

APPLICATION_ID: Final = 0x53414348
"""`SACH`: marks the file as a Sacho log, in SQLite's header field for it."""

# One statement, so that a file which another process makes a log meanwhile is seen either before or after.
FOUND: Final = """
SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
FROM pragma_application_id, pragma_user_version"""


@cache
def migrations() -> list[str]:
    """Return the texts of the migrations in order; the schema's number is how many of them were run."""
    folder = files("sacho.storage.sqlite") / "migrations"
    found = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return [entry.read_text(encoding="utf-8") for entry in found]


def prepare(connection: sqlite3.Connection, path: Path, timeout: float) -> LogIdentity:
    """Make sure that the file is a log of the present schema; return its identity.

    A new or empty file becomes one; an older one is migrated. Raises ForeignDatabase for anything else and NewerSchema
    for a log of a newer Sacho, both without touching it.
    """
    steps = migrations()
    if _found_schema(connection, path, len(steps)) < len(steps):
        _use_wal(connection, path, timeout)
        when_free(lambda: connection.execute("BEGIN IMMEDIATE"), timeout, path)
        with translated(path):
            try:
                _migrate(connection, steps, _found_schema(connection, path, len(steps)))
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
    _use_wal(connection, path, timeout)
    return identity_of(connection, path)


def identity_of(connection: sqlite3.Connection, path: Path) -> LogIdentity:
    """Return the log's id and epoch as they stand in the file."""
    with translated(path):
        row = connection.execute("SELECT id, epoch FROM log").fetchone()
    if row is None:
        raise CorruptLog(str(path), "the row that names the log is missing")
    id, epoch = row
    return LogIdentity(UUID(id), epoch)


def statements(script: str) -> Iterator[str]:
    """Yield the statements of an SQL script one by one (executescript would commit the transaction)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"unfinished statement: {statement.strip()[:60]}")


def _found_schema(connection: sqlite3.Connection, path: Path, known: int) -> int:
    with translated(path):
        mark, version, tables = connection.execute(FOUND).fetchone()
    if mark != APPLICATION_ID and (mark or version or tables):
        raise ForeignDatabase(str(path), "is a SQLite database of something else")
    if version > known:
        raise NewerSchema(str(path), version, known)
    return int(version)


def _migrate(connection: sqlite3.Connection, steps: list[str], found: int) -> None:
    for step in steps[found:]:
        for statement in statements(step):
            connection.execute(statement)
    if found == 0:
        connection.execute("INSERT INTO log (one, id, epoch) VALUES (1, ?, 1)", (str(uuid4()),))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    connection.execute(f"PRAGMA user_version = {len(steps):d}")


def _use_wal(connection: sqlite3.Connection, path: Path, timeout: float) -> None:
    with translated(path):
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode == "wal":
        return
    when_free(lambda: connection.execute("PRAGMA journal_mode = WAL"), timeout, path)
    with translated(path):
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        raise StorageFailed(f"{path} cannot use write-ahead logging (journal mode {mode}); is it on a network drive?")

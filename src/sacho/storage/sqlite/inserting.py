"""Inserting many rows by few statements.

Python's sqlite3 hands the interpreter's lock on at every row of `executemany`, so in a busy process each row may wait
for another thread's time slice. A statement with many rows hands it on once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec

from sacho.events import EncodedEvent

ROWS_PER_STATEMENT: Final = (32, 8, 1)
"""The sizes of statements, each prepared once; any number of rows is made up of them."""

EVENT_COLUMNS: Final = (
    "position, stream, version, type, schema_version, data, id, tags, metadata, correlation_id, recorded_at"
)

_encode_tags = msgspec.json.Encoder().encode


def _statements(table: str, columns: str) -> dict[int, str]:
    row = f"({', '.join('?' * len(columns.split(',')))})"
    return {size: f"INSERT INTO {table} ({columns}) VALUES {', '.join([row] * size)}" for size in ROWS_PER_STATEMENT}


_INSERT_EVENTS: Final = _statements("events", EVENT_COLUMNS)
_INSERT_MARKS: Final = _statements("marks", "mark, last, count, positions")


def insert_events(connection: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows made by `event_row`."""
    _insert(connection, _INSERT_EVENTS, rows)


def insert_marks(connection: sqlite3.Connection, rows: Sequence[tuple[str, int, int, str]]) -> None:
    """Insert (mark, last position, count, positions) rows."""
    _insert(connection, _INSERT_MARKS, rows)


def event_row(
    position: int, stream: str | None, version: int | None, event: EncodedEvent, recorded_at: int
) -> tuple[object, ...]:
    """Return an event's values in the order of EVENT_COLUMNS."""
    return (
        position,
        stream,
        version,
        event.type,
        event.schema_version,
        event.data,
        event.id,
        _encode_tags(event.tags).decode() if event.tags else None,
        event.metadata,
        event.correlation_id,
        recorded_at,
    )


def _insert(connection: sqlite3.Connection, statements: dict[int, str], rows: Sequence[tuple[object, ...]]) -> None:
    start, left = 0, len(rows)
    for size in ROWS_PER_STATEMENT:
        while left >= size:
            connection.execute(statements[size], tuple(chain.from_iterable(rows[start : start + size])))
            start, left = start + size, left - size

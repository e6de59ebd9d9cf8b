"""Inserting many rows by few statements.

Python's sqlite3 hands the interpreter's lock on at every row of `executemany`, so in a busy process each row may wait
for another thread's time slice. A statement with many rows hands it on once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Final, TypeAlias

from sacho.events import EncodedEvent
from sacho.storage.port import encode_tags

MOST_ROWS: Final = 128
"""How many rows one statement takes at most."""

EVENT_COLUMNS: Final = (
    "recorded_at, position, stream, version, type, schema_version, data, id, tags, metadata, correlation_id"
)

Entry: TypeAlias = tuple[int, str | None, int | None, EncodedEvent, int]
"""An event with its position, stream and version, and when it is recorded (microseconds since 1970 UTC)."""


def _statements(table: str, columns: str, first: str = "?") -> list[str]:
    """Return the statements that insert 1, 2, … MOST_ROWS rows, each prepared when it is first used.

    `first` stands for the first value of the first row.
    """
    values = ", ?" * columns.count(",")
    return [
        f"INSERT INTO {table} ({columns}) VALUES {', '.join([f'({first}{values})', *[f'(?{values})'] * more])}"
        for more in range(MOST_ROWS)
    ]


# Null where the log registers other inline views, or the index does not end at a position, and so refused.
_IF_AS_KNOWN: Final = "iif((SELECT indexed_to FROM log WHERE inline = ?) = ?, ?, NULL)"

_INSERT_EVENTS: Final = _statements("event_rows", EVENT_COLUMNS, _IF_AS_KNOWN)
_INSERT_STREAMS: Final = _statements("event_streams", "stream, version, last, positions")
_INSERT_MARKS: Final = _statements("marks", "mark, last, count, positions")


def insert_events(connection: sqlite3.Connection, entries: Sequence[Entry], indexed_to: int, inline: str) -> None:
    """Insert events, by as few statements as can be.

    Raises sqlite3.IntegrityError where a position is taken, the log registers other inline views than `inline`, or the
    index does not end at `indexed_to`: imported events, which may leave positions out, are always indexed.
    """
    for start in range(0, len(entries), MOST_ROWS):
        some = entries[start : start + MOST_ROWS] if len(entries) > MOST_ROWS else entries
        values: list[object] = [inline, indexed_to]
        for position, stream, version, event, recorded_at in some:
            tags = event.tags
            values += (
                recorded_at,
                position,
                stream,
                version,
                event.type,
                event.schema_version,
                event.data,
                event.id,
                encode_tags(tags) if tags else None,
                event.metadata,
                event.correlation_id,
            )
        connection.execute(_INSERT_EVENTS[len(some) - 1], values)


def insert_streams(connection: sqlite3.Connection, rows: Sequence[tuple[str, int, int, str]]) -> None:
    """Insert (stream, last version, last position, steps) rows."""
    _insert(connection, _INSERT_STREAMS, rows)


def insert_marks(connection: sqlite3.Connection, rows: Sequence[tuple[str, int, int, str]]) -> None:
    """Insert (mark, last position, count, steps) rows."""
    _insert(connection, _INSERT_MARKS, rows)


def _insert(connection: sqlite3.Connection, statements: list[str], rows: Sequence[tuple[object, ...]]) -> None:
    for start in range(0, len(rows), MOST_ROWS):
        some = rows[start : start + MOST_ROWS]
        connection.execute(statements[len(some) - 1], tuple(chain.from_iterable(some)))

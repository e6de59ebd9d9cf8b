"""The index by name: which events have a type, a category or a tag. Written for many events at a time.

An index that is kept up to date at each append costs a page of it at each commit. Here the marks of events are written
once some have gathered, in the transaction of the append that makes it so, as lists of positions; those behind
`marked_to` are few enough to be looked through. The ideas are those of a log-structured merge tree, with the log itself
as its first level, and of the posting lists of an inverted index.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

from sacho.events import Query, QueryItem, category_of
from sacho.storage.sqlite.inserting import insert_marks

MARK_EVERY: Final = 100
"""How many events gather before their marks are written."""

POSITIONS_PER_ROW: Final = 200
"""How many positions one row of the index holds at most."""

MARKED_TO: Final = "SELECT marked_to FROM log"
SET_MARKED_TO: Final = "UPDATE log SET marked_to = ?"

# The names of the events in a range, to be looked through.
NAMES_BETWEEN: Final = """
SELECT position, type, stream, tags FROM events WHERE position > ? AND position <= ? ORDER BY position"""

# The names of the events at given positions (a JSON list).
NAMES_AT: Final = """
SELECT position, type, stream, tags FROM events WHERE position IN (SELECT value FROM json_each(?))"""

# The lists of one mark that reach into a range, in order: from the first that ends above its beginning, to the first that
# ends at or above its end.
POSITIONS: Final = """
SELECT positions FROM marks WHERE mark = ? AND last > ? AND last <= coalesce(
    (SELECT min(last) FROM marks WHERE mark = ? AND last >= ?), 9223372036854775807)
ORDER BY last"""
POSITIONS_BACKWARDS: Final = f"{POSITIONS} DESC"

Group: TypeAlias = tuple[str, ...]
"""Marks of which an event must have one."""

_encode: Final = msgspec.json.Encoder().encode
_decode_positions: Final = msgspec.json.Decoder(list[int]).decode
_decode_tags: Final = msgspec.json.Decoder(tuple[str, ...]).decode


class Named(msgspec.Struct, frozen=True, gc=False):
    """What a query asks of an event."""

    position: int
    type: str
    stream: str | None
    tags: tuple[str, ...]


def marked_to(connection: sqlite3.Connection) -> int:
    """Return up to which position events have their marks."""
    (position,) = connection.execute(MARKED_TO).fetchone()
    return int(position)


def write_marks(connection: sqlite3.Connection, after: int, head: int) -> None:
    """Write the marks of the events above `after`, up to the head; within the caller's transaction."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for named in named_between(connection, after, head):
        found[f"type:{named.type}"].append(named.position)
        if named.stream is not None:
            found[f"category:{category_of(named.stream)}"].append(named.position)
        for tag in named.tags:
            found[f"tag:{tag}"].append(named.position)
    insert_marks(connection, [row for mark in sorted(found) for row in _rows(mark, found[mark])])
    connection.execute(SET_MARKED_TO, (head,))


def _rows(mark: str, positions: list[int]) -> Iterator[tuple[str, int, int, str]]:
    for start in range(0, len(positions), POSITIONS_PER_ROW):
        some = positions[start : start + POSITIONS_PER_ROW]
        yield mark, some[-1], len(some), _encode(some).decode()


def marked(connection: sqlite3.Connection, mark: str, after: int, to: int, *, backwards: bool) -> Iterator[list[int]]:
    """Yield the positions of a mark with after < position <= to, list by list, in order."""
    rows = connection.execute(POSITIONS_BACKWARDS if backwards else POSITIONS, (mark, after, mark, to))
    try:
        for (text,) in rows:
            some = [position for position in _decode_positions(text) if after < position <= to]
            yield some[::-1] if backwards else some
    finally:
        rows.close()


def groups(item: QueryItem) -> list[Group]:
    """Return what an item asks for: a mark of each of these groups."""
    found: list[Group] = [(f"tag:{tag}",) for tag in item.tags]
    if item.types:
        found.append(tuple(f"type:{type}" for type in item.types))
    if item.categories:
        found.append(tuple(f"category:{category}" for category in item.categories))
    return found


def matching(connection: sqlite3.Connection, item: QueryItem, positions: list[int]) -> list[int]:
    """Return those of the positions, in their order, whose events an item means."""
    rows = connection.execute(NAMES_AT, (_encode(positions).decode(),))
    found = {named.position for named in map(_named, rows) if item.matches(named.type, named.tags, named.stream)}
    return [position for position in positions if position in found]


def named_between(connection: sqlite3.Connection, after: int, to: int) -> Iterator[Named]:
    """Yield the names of the events with after < position <= to, in order."""
    return map(_named, connection.execute(NAMES_BETWEEN, (after, to)))


def _named(row: tuple[int, str, str | None, str | None]) -> Named:
    position, type, stream, tags = row
    return Named(position, type, stream, _decode_tags(tags) if tags else ())


class Tail:
    """The events behind the marks, kept by the writer, so that most conditions are answered without a search."""

    def __init__(self) -> None:
        self._entries: list[Named] = []
        self._gathered = 0
        self._types: set[str] = set()
        self._tags: set[str] = set()
        self._categories: set[str] = set()

    def add(self, named: Named) -> None:
        """Take in the next event."""
        self._entries.append(named)

    def first_match(self, query: Query, after: int) -> int | None:
        """Return the first position above `after` whose event matches, or None."""
        self._gather()
        if query.items and not any(self._may_match(item) for item in query.items):
            return None
        for named in self._entries:
            if named.position > after and query.matches(named.type, named.tags, named.stream):
                return named.position
        return None

    def _gather(self) -> None:
        for named in self._entries[self._gathered :]:
            self._types.add(named.type)
            self._tags.update(named.tags)
            if named.stream is not None:
                self._categories.add(category_of(named.stream))
        self._gathered = len(self._entries)

    def _may_match(self, item: QueryItem) -> bool:
        return (
            (not item.types or not self._types.isdisjoint(item.types))
            and self._tags.issuperset(item.tags)
            and (not item.categories or not self._categories.isdisjoint(item.categories))
        )

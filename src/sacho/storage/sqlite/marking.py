"""The index by name: which events have a type, a category or a tag. Written for many events at a time.

An index that is kept up to date at each append costs a page of it at each commit. Here the marks of events are written
once some have gathered, in the transaction of the append that makes it so; those behind `marked_to` are few enough to
be looked through. The idea is that of a log-structured merge tree, with the log itself as its first level.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

from sacho.events import Query, QueryItem, category_of

MARK_EVERY: Final = 100
"""How many events gather before their marks are written."""

MARKED_TO: Final = "SELECT marked_to FROM log"
SET_MARKED_TO: Final = "UPDATE log SET marked_to = ?"

# The marks of all events above a position, in the order of the index.
WRITE_MARKS: Final = """
INSERT INTO marks (mark, position)
SELECT mark, position FROM (
    SELECT 'type:' || type AS mark, position FROM events WHERE position > :after
    UNION ALL
    SELECT 'category:' || category, position FROM events WHERE position > :after AND stream IS NOT NULL
    UNION ALL
    SELECT 'tag:' || tag.value, position FROM events, json_each(events.tags) AS tag
    WHERE position > :after AND tags IS NOT NULL
) ORDER BY mark, position"""

# The names of the events in a range, to be looked through.
NAMES_BETWEEN: Final = """
SELECT position, type, stream, tags FROM events WHERE position > ? AND position <= ? ORDER BY position"""

Group: TypeAlias = tuple[str, ...]
"""Marks of which an event must have one."""

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
    connection.execute(WRITE_MARKS, {"after": after})
    connection.execute(SET_MARKED_TO, (head,))


def groups(item: QueryItem) -> list[Group]:
    """Return what an item asks for: a mark of each of these groups."""
    found: list[Group] = [(f"tag:{tag}",) for tag in item.tags]
    if item.types:
        found.append(tuple(f"type:{type}" for type in item.types))
    if item.categories:
        found.append(tuple(f"category:{category}" for category in item.categories))
    return found


def named_between(connection: sqlite3.Connection, after: int, to: int) -> Iterator[Named]:
    """Yield the names of the events with after < position <= to, in order."""
    for position, type, stream, tags in connection.execute(NAMES_BETWEEN, (after, to)):
        yield Named(position, type, stream, _decode_tags(tags) if tags else ())


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

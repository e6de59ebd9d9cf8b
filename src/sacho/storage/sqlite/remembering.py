"""What the writer remembers of the log, so that most writes are accepted without asking it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from sacho.events import Query, QueryItem, category_of
from sacho.storage.inline_views import NO_VIEWS
from sacho.storage.port import Row, row_of
from sacho.storage.sqlite import reading
from sacho.storage.sqlite.indexing import (
    INDEX_EVERY,
    INDEX_EVERY_BYTES,
    entries_after,
    indexed_and_inline,
    indexed_version,
    newest_indexed_id,
)
from sacho.storage.sqlite.inserting import Entry

REMEMBERED_STREAMS: Final = 20_000


class Known:
    """The log as the writer has last seen it. What it says holds for as long as the head is still the same."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.forget()

    def forget(self) -> None:
        """Remember nothing: what was remembered may be half of something."""
        self._seen: int | None = None
        self.head = 0
        self.indexed_to = 0
        self.inline = NO_VIEWS
        """Which inline views the log registers."""
        self.index_due = 0
        """At which head the events behind the index are to be taken into it; 0: nothing is known."""
        self.tail = Tail()
        self._bytes = 0
        self._tail_ids: set[bytes] = set()
        self._newest_indexed_id = b""
        self._versions: dict[str, int] = {}

    def doubt(self) -> None:
        """Have the next `refresh` look, whatever SQLite says."""
        self._seen = None

    def refresh(self) -> bool:
        """Learn what other connections have written since, within the caller's transaction; return whether they have."""
        (seen,) = self._connection.execute("PRAGMA data_version").fetchone()
        if seen == self._seen:
            return False
        head, (indexed, self.inline) = reading.head(self._connection), indexed_and_inline(self._connection)
        if not self.index_due or indexed != self.indexed_to:
            if indexed > self.head:
                self._versions = {}
            self.head = indexed
            self._index(newest_indexed_id(self._connection))
        entries = list(entries_after(self._connection, self.head))
        self.take_in(entries, _last_versions(entries), head)
        self._seen = seen
        return True

    def take_in(self, entries: list[Entry], versions: dict[str, int], head: int) -> None:
        """Remember the events that were written, their streams' versions and the new head."""
        self.tail.entries += entries
        self._versions.update(versions)
        self.head = head
        for _, _, _, event, _ in entries:
            self._tail_ids.add(event.id)
            self._bytes += len(event.data)
        if self._bytes > INDEX_EVERY_BYTES:
            self.index_due = head
        if len(self._versions) > REMEMBERED_STREAMS:
            self._versions = _last_versions(self.tail.entries)

    def index(self) -> None:
        """Remember that the index tells of all events."""
        self._index(max(self._newest_indexed_id, *self._tail_ids))

    def _index(self, newest_id: bytes) -> None:
        self._newest_indexed_id = newest_id
        self.indexed_to = self.head
        self.index_due = self.head + INDEX_EVERY
        self.tail, self._tail_ids, self._bytes = Tail(), set(), 0

    def version(self, stream: str) -> int:
        """Return the stream's version."""
        version = self._versions.get(stream)
        if version is None:
            version = self._versions[stream] = indexed_version(self._connection, stream)
        return version

    def stream_rows(self, stream: str, after: int, to: int, head: int) -> list[Row] | None:
        """Return the events of a stream with after < version <= to, or None if they are not all remembered."""
        version = self._versions.get(stream)
        if version is None or not self.index_due or not self._is_fresh():
            return None
        if version <= after:
            return []
        rows: list[Row] = [
            row_of(*entry)
            for entry in self.tail.entries
            if entry[1] == stream and entry[2] is not None and after < entry[2] <= to and entry[0] <= head
        ]
        return rows if rows and rows[0][2] == after + 1 else None

    def _is_fresh(self) -> bool:
        (seen,) = self._connection.execute("PRAGMA data_version").fetchone()
        return bool(seen == self._seen)

    def has_any(self, ids: Sequence[bytes]) -> bool:
        """Tell whether any of the ids is in the log, or one stands twice among them."""
        if len(ids) == 1 and ids[0] > self._newest_indexed_id:
            return ids[0] in self._tail_ids  # the common case, at less cost than what follows
        if not self._tail_ids.isdisjoint(ids) or (len(ids) > 1 and len(set(ids)) < len(ids)):
            return True
        newest = self._newest_indexed_id
        return min(ids) <= newest and reading.has_indexed(self._connection, [id for id in ids if id <= newest])

    def first_match(self, query: Query, after: int) -> int | None:
        """Return the position of one event above `after` that matches, or None."""
        found = None
        if after < self.indexed_to:
            found = reading.first_match(self._connection, query, after, self.indexed_to)
        return self.tail.first_match(query, after) if found is None else found


class Tail:
    """Events in order, with the names that they have: most conditions on them are answered without a search."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._gathered = 0
        self._types: set[str] = set()
        self._tags: set[str] = set()
        self._categories: set[str] = set()

    def first_match(self, query: Query, after: int) -> int | None:
        """Return the first position above `after` whose event matches, or None."""
        self._gather()
        for item in query.items:
            if self._may_match(item):
                return first_match(self.entries, query, after)
        return None if query.items else first_match(self.entries, query, after)

    def _gather(self) -> None:
        for _, stream, _, event, _ in self.entries[self._gathered :]:
            self._types.add(event.type)
            self._tags.update(event.tags)
            if stream is not None:
                self._categories.add(category_of(stream))
        self._gathered = len(self.entries)

    def _may_match(self, item: QueryItem) -> bool:
        return (
            (not item.types or not self._types.isdisjoint(item.types))
            and self._tags.issuperset(item.tags)
            and (not item.categories or not self._categories.isdisjoint(item.categories))
        )


def first_match(entries: list[Entry], query: Query, after: int) -> int | None:
    """Return the first position above `after` whose event matches, or None."""
    for position, stream, _, event, _ in entries:
        if position > after and query.matches(event.type, event.tags, stream):
            return position
    return None


def _last_versions(entries: list[Entry]) -> dict[str, int]:
    return {stream: version for _, stream, version, _, _ in entries if stream is not None and version is not None}

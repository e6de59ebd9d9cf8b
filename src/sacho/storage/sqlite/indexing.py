"""The index of the log: by id, by stream and version, by correlation id and by name. Written for many events at a time.

An index that is kept up to date at each append costs a page of it, or more, at each commit. Here events are taken into
the index once some have gathered, in the transaction of the append that makes it so; those behind `indexed_to` are few
enough to be looked through. Types, categories and tags have lists of positions, kept as the steps from one to the
next. The ideas are those of a log-structured merge tree, with the log itself as its first level, and of the posting
lists of an inverted index.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate
from operator import sub
from typing import Final, TypeAlias

import msgspec

from sacho.events import EncodedEvent, QueryItem, category_of
from sacho.storage.sqlite.inserting import Entry, insert_marks, insert_streams

INDEX_EVERY: Final = 200
"""How many events gather before they are taken into the index."""

INDEX_EVERY_BYTES: Final = 4 * 1024 * 1024
"""How many bytes of their data gather at most, since the writer keeps them in memory."""

POSITIONS_PER_LIST: Final = 200
"""How many positions one list holds at most."""

INDEXED_TO: Final = "SELECT indexed_to FROM log"
INDEXED_AND_INLINE: Final = "SELECT indexed_to, inline FROM log"
SET_INDEXED_TO: Final = "UPDATE log SET indexed_to = ?"
INDEX_IDS: Final = """
INSERT INTO event_ids (id, position) SELECT id, position FROM event_rows WHERE position > ?"""
INDEX_CORRELATIONS: Final = """
INSERT INTO event_correlations (correlation_id, position)
SELECT correlation_id, position FROM event_rows
WHERE position > ? AND correlation_id IS NOT NULL ORDER BY correlation_id, position"""

# The version of a stream as far as the index tells; the newest id in it.
INDEXED_VERSION: Final = "SELECT coalesce(max(version), 0) FROM event_streams WHERE stream = ?"
NEWEST_INDEXED_ID: Final = "SELECT coalesce(max(id), x'') FROM event_ids"

# The names of the events in a range, to be looked through.
NAMES_BETWEEN: Final = """
SELECT position, type, stream, tags FROM event_rows WHERE position > ? AND position <= ? ORDER BY position"""

# The events above a position.
ENTRIES_AFTER: Final = """
SELECT position, stream, version, id, type, schema_version, data, tags, metadata, correlation_id, recorded_at
FROM event_rows WHERE position > ? ORDER BY position"""

# The names of the events at given positions (a JSON list).
NAMES_AT: Final = """
SELECT position, type, stream, tags FROM event_rows WHERE position IN (SELECT value FROM json_each(?))"""

# The lists of one mark that reach into a range, in order: from the first that ends above its beginning, to the first that
# ends at or above its end.
POSITIONS: Final = """
SELECT positions FROM marks WHERE mark = ? AND last > ? AND last <= coalesce(
    (SELECT min(last) FROM marks WHERE mark = ? AND last >= ?), 9223372036854775807)
ORDER BY last"""
POSITIONS_BACKWARDS: Final = f"{POSITIONS} DESC"

# The lists of one stream that reach into a range of versions, in order.
STREAM: Final = """
SELECT version, positions FROM event_streams WHERE stream = ? AND version > ? AND version <= coalesce(
    (SELECT min(version) FROM event_streams WHERE stream = ? AND version >= ?), 9223372036854775807)
ORDER BY version"""
STREAM_BACKWARDS: Final = f"{STREAM} DESC"

Group: TypeAlias = tuple[str, ...]
"""Marks of which an event must have one."""

_encode: Final = msgspec.json.Encoder().encode
_decode_steps: Final = msgspec.json.Decoder(list[int]).decode
_decode_tags: Final = msgspec.json.Decoder(tuple[str, ...]).decode


class Named(msgspec.Struct, frozen=True, gc=False):
    """What a query asks of an event."""

    position: int
    type: str
    stream: str | None
    tags: tuple[str, ...]


def indexed_to(connection: sqlite3.Connection) -> int:
    """Return up to which position the index tells of the events."""
    (position,) = connection.execute(INDEXED_TO).fetchone()
    return int(position)


def indexed_and_inline(connection: sqlite3.Connection) -> tuple[int, str]:
    """Return up to which position the index tells of the events, and which inline views the log registers."""
    indexed_to, inline = connection.execute(INDEXED_AND_INLINE).fetchone()
    return int(indexed_to), str(inline)


def indexed_version(connection: sqlite3.Connection, stream: str) -> int:
    """Return how many events of a stream the index tells of."""
    (version,) = connection.execute(INDEXED_VERSION, (stream,)).fetchone()
    return int(version)


def newest_indexed_id(connection: sqlite3.Connection) -> bytes:
    """Return the greatest id in the index: ids above it are not there, and most new ids are."""
    (id,) = connection.execute(NEWEST_INDEXED_ID).fetchone()
    return bytes(id)


def entries_after(connection: sqlite3.Connection, after: int) -> Iterator[Entry]:
    """Yield the events above a position."""
    for row in connection.execute(ENTRIES_AFTER, (after,)):
        position, stream, version, id, type, schema_version, data, tags, metadata, correlation_id, recorded_at = row
        event = EncodedEvent(id, type, schema_version, data, decode_tags(tags), metadata, correlation_id)
        yield position, stream, version, event, recorded_at


def write_index(connection: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Take the events behind the index, which `entries` are, into it; within the caller's transaction."""
    streams: defaultdict[str, list[int]] = defaultdict(list)
    versions: dict[str, int] = {}
    types: defaultdict[str, list[int]] = defaultdict(list)
    tags: defaultdict[str, list[int]] = defaultdict(list)
    categories: defaultdict[str, list[int]] = defaultdict(list)
    are_correlated = False
    position = after = indexed_to(connection)
    for position, stream, version, event, _ in entries:
        if stream is not None and version is not None:
            streams[stream].append(position)
            versions[stream] = version
        types[event.type].append(position)
        for tag in event.tags:
            tags[tag].append(position)
        if event.correlation_id is not None:
            are_correlated = True
    for stream, positions in streams.items():
        categories[category_of(stream)] += positions
    connection.execute(INDEX_IDS, (after,))
    if are_correlated:
        connection.execute(INDEX_CORRELATIONS, (after,))
    insert_streams(
        connection,
        [
            (name, versions[name] - to_come, last, steps)
            for name in sorted(streams)
            for last, _, to_come, steps in _lists(streams[name])
        ],
    )
    marks = {f"type:{name}": positions for name, positions in types.items()}
    marks |= {f"tag:{name}": positions for name, positions in tags.items()}
    marks |= {f"category:{name}": sorted(positions) for name, positions in categories.items()}
    insert_marks(
        connection,
        [(name, last, count, steps) for name in sorted(marks) for last, count, _, steps in _lists(marks[name])],
    )
    connection.execute(SET_INDEXED_TO, (position,))


def _lists(positions: list[int]) -> list[tuple[int, int, int, str]]:
    """Return lists of a bounded length: for each its last position, how many are in it and behind it, and its steps."""
    found = []
    for start in range(0, len(positions), POSITIONS_PER_LIST):
        some = positions[start : start + POSITIONS_PER_LIST]
        steps = _encode([some[0], *map(sub, some[1:], some)]).decode()
        found.append((some[-1], len(some), len(positions) - start - len(some), steps))
    return found


def stream_positions(
    connection: sqlite3.Connection, stream: str, after: int, to: int, room: int, *, backwards: bool
) -> list[int]:
    """Return the positions of the first `room` events of a stream with after < version <= to, as far as the index tells."""
    found: list[int] = []
    for version, steps in connection.execute(STREAM_BACKWARDS if backwards else STREAM, (stream, after, stream, to)):
        some = list(accumulate(_decode_steps(steps)))
        before = version - len(some)
        some = some[max(after - before, 0) : to - before]
        found += some[::-1] if backwards else some
        if len(found) >= room:
            break
    return found[:room]


def marked(connection: sqlite3.Connection, mark: str, after: int, to: int, *, backwards: bool) -> Iterator[list[int]]:
    """Yield the positions of a mark with after < position <= to, list by list, in order."""
    rows = connection.execute(POSITIONS_BACKWARDS if backwards else POSITIONS, (mark, after, mark, to))
    try:
        for (text,) in rows:
            some = [position for position in accumulate(_decode_steps(text)) if after < position <= to]
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
    return Named(position, type, stream, decode_tags(tags))


def decode_tags(tags: str | None) -> tuple[str, ...]:
    """Return the tags of a stored event."""
    return _decode_tags(tags) if tags else ()

"""Reading: every read is a walk along an index, page by page, each page a statement of its own.

A query is taken apart into branches that each follow one index in order of position: a tag, a type, a category, or,
where few events are in range, the range itself. SQLite merges the branches; nothing is sorted, nothing scanned that a
narrower index could have found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from sacho.events import Query, QueryItem
from sacho.storage.port import CHUNK_BYTES, CHUNK_ROWS, CategoryInfo, Row, StreamInfo, moment

Borrow: TypeAlias = Callable[[], AbstractContextManager[sqlite3.Connection]]

COLUMNS: Final = (
    "e.position, e.stream, e.version, e.type, e.schema_version, e.data, e.id, e.tags, e.metadata, e.recorded_at"
)
POSITION: Final = 0
VERSION: Final = 2
DATA: Final = 5

FETCH_ROWS: Final = 250
SHORT_RANGE: Final = 100
"""Up to how many positions are simply walked through, whatever the query."""
BRANCHES_PER_STATEMENT: Final = 200
COUNT_STEPS: Final = (64, 1_024, 16_384)
"""How far the parts of a query are counted to find the narrowest, step by step until one ends."""

HEAD: Final = "SELECT coalesce(max(position), 0) FROM events"

# One stream, by version.
STREAM: Final = f"""
SELECT {COLUMNS} FROM events e
WHERE e.stream = ? AND e.version > ? AND e.version <= ? AND e.position <= ? ORDER BY e.version"""

# The whole log, by position.
LOG: Final = f"SELECT {COLUMNS} FROM events e WHERE e.position > ? AND e.position <= ? ORDER BY e.position"

# The events of one correlation id, by position.
CORRELATED: Final = f"""
SELECT {COLUMNS} FROM events e
WHERE e.correlation_id = ? AND e.position > ? AND e.position <= ? ORDER BY e.position"""

# The events at given positions (a JSON list).
AT_POSITIONS: Final = f"""
SELECT {COLUMNS} FROM events e WHERE e.position IN (SELECT value FROM json_each(?)) ORDER BY e.position"""

# The streams above an id, each with its last event, by jumps from one id to the next.
STREAMS: Final = """
WITH RECURSIVE names (stream) AS (
    SELECT min(stream) FROM events WHERE stream > :after AND stream < :before
    UNION ALL
    SELECT (SELECT min(stream) FROM events WHERE stream > names.stream AND stream < :before)
    FROM names WHERE names.stream IS NOT NULL
)
SELECT e.stream, e.version, e.position, e.recorded_at
FROM names JOIN events e
ON e.stream = names.stream AND e.version = (SELECT max(version) FROM events WHERE stream = names.stream)
LIMIT :limit"""

# The last event of one stream.
LAST_OF_STREAM: Final = """
SELECT stream, version, position, recorded_at FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1"""

# The categories, each with its last event, by jumps from one to the next.
CATEGORIES: Final = """
WITH RECURSIVE names (category) AS (
    SELECT min(category) FROM events WHERE stream IS NOT NULL
    UNION ALL
    SELECT (SELECT min(category) FROM events WHERE category > names.category AND stream IS NOT NULL)
    FROM names WHERE names.category IS NOT NULL
)
SELECT names.category, e.position, e.recorded_at
FROM names JOIN events e ON e.position =
    (SELECT max(position) FROM events WHERE category = names.category AND stream IS NOT NULL)"""

ABOVE_ALL_NAMES: Final = "\U0010ffff" * 64


class _Branch(NamedTuple):
    """A walk along one index: the statement without its order, and the values before and after the range."""

    select: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def head(connection: sqlite3.Connection) -> int:
    """Return the highest position, 0 for an empty log."""
    (position,) = connection.execute(HEAD).fetchone()
    return int(position)


def read_stream(
    borrow: Borrow, stream: str, after: int, to: int, limit: int | None, backwards: bool, head: int
) -> Iterator[list[Row]]:
    """Yield pages of one stream."""
    statement = f"{STREAM}{' DESC' if backwards else ''} LIMIT ?"

    def page(connection: sqlite3.Connection, low: int, high: int, room: int) -> tuple[list[Row], bool]:
        return _fetch(connection.execute(statement, (stream, low, high, head, room)), room)

    return _pages(borrow, page, VERSION, after, to, limit, backwards)


def read_log(borrow: Borrow, after: int, to: int, limit: int | None, backwards: bool) -> Iterator[list[Row]]:
    """Yield pages of the whole log."""
    statement = f"{LOG}{' DESC' if backwards else ''} LIMIT ?"

    def page(connection: sqlite3.Connection, low: int, high: int, room: int) -> tuple[list[Row], bool]:
        return _fetch(connection.execute(statement, (low, high, room)), room)

    return _pages(borrow, page, POSITION, after, to, limit, backwards)


def read_correlated(borrow: Borrow, correlation_id: str, after: int, to: int) -> Iterator[list[Row]]:
    """Yield pages of the events of one correlation id."""

    def page(connection: sqlite3.Connection, low: int, high: int, room: int) -> tuple[list[Row], bool]:
        return _fetch(connection.execute(f"{CORRELATED} LIMIT ?", (correlation_id, low, high, room)), room)

    return _pages(borrow, page, POSITION, after, to, None, backwards=False)


def read_query(
    borrow: Borrow, query: Query, after: int, to: int, limit: int | None, backwards: bool
) -> Iterator[list[Row]]:
    """Yield pages of the events that match a query."""
    if any(item == QueryItem() for item in query.items) or not query.items:
        return read_log(borrow, after, to, limit, backwards)
    branches: list[_Branch] = []
    statement = f"{AT_POSITIONS}{' DESC' if backwards else ''}"

    def page(connection: sqlite3.Connection, low: int, high: int, room: int) -> tuple[list[Row], bool]:
        if not branches:
            branches.extend(_plan(connection, query, low, high))
        positions = _positions(connection, branches, low, high, room, backwards)
        rows, cut = _fetch(connection.execute(statement, (msgspec.json.encode(positions).decode(),)), len(positions))
        return rows, cut if len(rows) < len(positions) else len(positions) == room

    return _pages(borrow, page, POSITION, after, to, limit, backwards)


def first_match(connection: sqlite3.Connection, query: Query, after: int, to: int) -> int | None:
    """Return the position of one event that matches in the range, or None."""
    if after >= to:
        return None
    if not query.items:
        return to
    found = _positions(connection, _plan(connection, query, after, to), after, to, 1, backwards=False)
    return found[0] if found else None


def find(connection: sqlite3.Connection, ids: Sequence[bytes]) -> list[Row]:
    """Return the events of these ids that are there, in order of position."""
    rows: list[Row] = []
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        marks = ",".join("?" * len(some))
        rows += connection.execute(f"SELECT {COLUMNS} FROM events e WHERE e.id IN ({marks})", some)
    return sorted(rows)


def streams(borrow: Borrow, category: str | None, after: str, limit: int | None) -> Iterator[list[StreamInfo]]:
    """Yield pages of streams in order of id. The ids of a category are its bare name and all from `name-` to `name.`."""
    if category is None:
        yield from _streams_between(borrow, after, ABOVE_ALL_NAMES, limit)
        return
    if after < category and limit != 0:
        with borrow() as connection:
            bare = connection.execute(LAST_OF_STREAM, (category,)).fetchall()
        if bare:
            yield _infos(bare)
            limit = None if limit is None else limit - 1
    yield from _streams_between(borrow, max(after, f"{category}-"), f"{category}.", limit)


def categories(connection: sqlite3.Connection) -> list[CategoryInfo]:
    """Return the categories in order of name."""
    return [CategoryInfo(name, position, moment(at)) for name, position, at in connection.execute(CATEGORIES)]


def position_at(connection: sqlite3.Connection, recorded_at: int) -> int:
    """Return the last position recorded at or before a time, found from the end: exact whatever the clock did."""
    row = connection.execute(
        "SELECT position FROM events WHERE recorded_at <= ? ORDER BY position DESC LIMIT 1", (recorded_at,)
    ).fetchone()
    return int(row[0]) if row else 0


def _pages(
    borrow: Borrow,
    page: Callable[[sqlite3.Connection, int, int, int], tuple[list[Row], bool]],
    key: int,
    after: int,
    to: int,
    limit: int | None,
    backwards: bool,
) -> Iterator[list[Row]]:
    """Yield pages until the range or the limit ends; between two pages no statement is open."""
    more = limit is None or limit > 0
    while more and after < to:
        with borrow() as connection:
            rows, more = page(connection, after, to, CHUNK_ROWS if limit is None else min(limit, CHUNK_ROWS))
        if not rows:
            return
        if limit is not None:
            limit -= len(rows)
            more = more and limit > 0
        last: Any = rows[-1][key]
        if backwards:
            to = last - 1
        else:
            after = last
        yield rows


def _fetch(cursor: sqlite3.Cursor, room: int) -> tuple[list[Row], bool]:
    """Return up to `room` rows, fewer where they are large, and whether there may be more."""
    rows: list[Row] = cursor.fetchmany(FETCH_ROWS)
    if len(rows) < FETCH_ROWS:
        return rows, len(rows) == room
    size = _size(rows)
    while size < CHUNK_BYTES and len(rows) < room:
        part = cursor.fetchmany(FETCH_ROWS)
        rows += part
        if len(part) < FETCH_ROWS:
            return rows, len(rows) == room
        size += _size(part)
    cursor.close()
    return rows, True


def _size(rows: list[Row]) -> int:
    return sum([len(row[DATA]) for row in rows])


def _positions(
    connection: sqlite3.Connection, branches: list[_Branch], low: int, high: int, room: int, backwards: bool
) -> list[int]:
    """Return the first `room` positions of all branches in the range, in order."""
    found: set[int] = set()
    order = "DESC" if backwards else "ASC"
    for start in range(0, len(branches), BRANCHES_PER_STATEMENT):
        some = branches[start : start + BRANCHES_PER_STATEMENT]
        statement = " UNION ".join(branch.select for branch in some)
        values = [value for branch in some for value in (*branch.before, low, high, *branch.after)]
        rows = connection.execute(f"{statement} ORDER BY 1 {order} LIMIT ?", (*values, room))
        found.update(position for (position,) in rows)
    return sorted(found, reverse=backwards)[:room]


def _plan(connection: sqlite3.Connection, query: Query, after: int, to: int) -> list[_Branch]:
    """Choose for each item of a query the index to follow."""
    return [branch for item in query.items for branch in _branches(item, _driver(connection, item, after, to))]


def _driver(connection: sqlite3.Connection, item: QueryItem, after: int, to: int) -> tuple[str, str]:
    """Return which part of an item is the narrowest: ("tag", the tag), ("types", ""), ("categories", "") or a range."""
    if to - after <= SHORT_RANGE:
        return "range", ""
    parts: list[tuple[tuple[str, str], str, str, tuple[str, ...]]]
    parts = [(("tag", tag), "tags", "tag", (tag,)) for tag in item.tags]
    parts += [(("types", ""), "events", "type", item.types)] if item.types else []
    parts += [(("categories", ""), "events", "category", item.categories)] if item.categories else []
    if len(parts) > 1:
        for step in COUNT_STEPS:
            counts = [_count(connection, table, column, names, after, to, step) for _, table, column, names in parts]
            if min(counts) < step:
                return parts[counts.index(min(counts))][0]
    return parts[0][0]


def _count(
    connection: sqlite3.Connection, table: str, column: str, names: tuple[str, ...], after: int, to: int, most: int
) -> int:
    """Count the entries of some names in the range, up to `most`. Table and column are constants of this module."""
    held = " AND stream IS NOT NULL" if column == "category" else ""
    total = 0
    for name in names:
        (count,) = connection.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {column} = ? "
            f"AND position > ? AND position <= ?{held} LIMIT ?)",
            (name, after, to, most - total),
        ).fetchone()
        total += count
        if total >= most:
            break
    return total


def _branches(item: QueryItem, driver: tuple[str, str]) -> Iterator[_Branch]:
    """Yield the walks of one item along the chosen index; the item's other parts filter on the way."""
    kind, tag = driver
    in_range = "{0}.position > ? AND {0}.position <= ?"
    filters, values = _filters(item, kind, tag, "d" if kind == "tag" else "e")
    if kind == "tag":
        join = "CROSS JOIN events e ON e.position = d.position " if "e." in filters else ""
        yield _Branch(
            f"SELECT d.position FROM tags d {join}WHERE d.tag = ? AND {in_range.format('d')}{filters}", (tag,), values
        )
    elif kind == "range":
        yield _Branch(f"SELECT e.position FROM events e WHERE {in_range.format('e')}{filters}", (), values)
    else:
        column, index, held = (
            ("type", "events_by_type", "")
            if kind == "types"
            else ("category", "events_by_category", " AND e.stream IS NOT NULL")
        )
        select = (
            f"SELECT e.position FROM events e INDEXED BY {index} "
            f"WHERE e.{column} = ? AND {in_range.format('e')}{held}{filters}"
        )
        for name in getattr(item, kind):
            yield _Branch(select, (name,), values)


def _filters(item: QueryItem, kind: str, driving_tag: str, alias: str) -> tuple[str, tuple[str, ...]]:
    """Return the conditions of an item's parts that do not drive the walk, and their values."""
    text = ""
    values: tuple[str, ...] = ()
    for tag in item.tags:
        if kind != "tag" or tag != driving_tag:
            text += f" AND EXISTS (SELECT 1 FROM tags t WHERE t.tag = ? AND t.position = {alias}.position)"
            values += (tag,)
    for part, column in (("types", "type"), ("categories", "category")):
        names = getattr(item, part)
        if names and kind != part:
            text += f" AND e.{column} IN (SELECT value FROM json_each(?))"
            values += (msgspec.json.encode(names).decode(),)
    return text, values


def _streams_between(borrow: Borrow, after: str, before: str, limit: int | None) -> Iterator[list[StreamInfo]]:
    while limit is None or limit > 0:
        room = CHUNK_ROWS if limit is None else min(limit, CHUNK_ROWS)
        with borrow() as connection:
            rows = connection.execute(STREAMS, {"after": after, "before": before, "limit": room}).fetchall()
        if rows:
            yield _infos(rows)
        if len(rows) < room:
            return
        after = rows[-1][0]
        limit = None if limit is None else limit - len(rows)


def _infos(rows: list[tuple[str, int, int, int]]) -> list[StreamInfo]:
    return [StreamInfo(stream, version, position, moment(at)) for stream, version, position, at in rows]

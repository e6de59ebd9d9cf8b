"""Reading: every read is a walk along an index, page by page, each page a statement of its own.

A query is taken apart into branches that each follow one mark in order of position: a tag, a type or a category,
whichever of an item's parts is the narrowest. The few events that the index does not tell of yet, and short ranges, are
looked through. Nothing is sorted, nothing scanned that a narrower index could have found.

Up to where the index tells is asked first: what lies below that stays in it, and what lies above is in the log itself,
so the two parts need no common snapshot.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec

from sacho.events import Query, QueryItem, category_of
from sacho.storage.port import CHUNK_BYTES, CHUNK_ROWS, CategoryInfo, Row, StreamInfo, moment
from sacho.storage.sqlite.indexing import (
    Group,
    groups,
    indexed_to,
    indexed_version,
    marked,
    matching,
    named_between,
    stream_positions,
)

T = TypeVar("T")


class Run(Protocol):
    """Runs short work on a connection. Between two runs nothing is open."""

    def __call__(self, work: Callable[[sqlite3.Connection], T], /) -> T:
        """Return what `work` returns."""


class Page(Protocol):
    """Reads one page of a range."""

    def __call__(self, connection: sqlite3.Connection, low: int, high: int, room: int) -> tuple[list[Row], bool]:
        """Return up to `room` rows with low < key <= high, in order, and whether there may be more."""


COLUMNS: Final = (
    "e.position, e.stream, e.version, e.type, e.schema_version, e.data, e.id, e.tags, e.metadata, e.recorded_at"
)
POSITION: Final = 0
VERSION: Final = 2
DATA: Final = 5

NEAR_ROWS: Final = 100
"""How many rows of a stream are read on the writer's connection, if it is free: the most of the entities' states."""
FIRST_FETCH_ROWS: Final = 8
FETCH_ROWS: Final = 512
"""How many rows are taken before their size is looked at; few at first, since each may be large."""
SHORT_RANGE: Final = 100
"""Up to how many positions are simply walked through, whatever the query."""
COUNT_STEPS: Final = (64, 1_024, 16_384)
"""How far the parts of a query are counted to find the narrowest, step by step until one ends."""

HEAD: Final = "SELECT coalesce(max(position), 0) FROM event_rows"

# One stream behind the index, by version.
STREAM_BEHIND: Final = f"""
SELECT {COLUMNS} FROM event_rows e
WHERE e.position > ? AND e.position <= ? AND e.stream = ? AND e.version > ? AND e.version <= ? ORDER BY e.position"""

VERSION_BEHIND: Final = "SELECT max(version) FROM event_rows WHERE position > ? AND stream = ?"

# The whole log, by position.
LOG: Final = f"SELECT {COLUMNS} FROM event_rows e WHERE e.position > ? AND e.position <= ? ORDER BY e.position"

# The events of one correlation id, by position: what the index tells of, and what lies behind it.
CORRELATED_INDEXED: Final = f"""
SELECT {COLUMNS} FROM event_correlations c CROSS JOIN event_rows e ON e.position = c.position
WHERE c.correlation_id = ? AND c.position > ? AND c.position <= ? ORDER BY c.position LIMIT ?"""
CORRELATED_BEHIND: Final = f"""
SELECT {COLUMNS} FROM event_rows e
WHERE e.position > ? AND e.position <= ? AND e.correlation_id = ? ORDER BY e.position LIMIT ?"""

# The events of given ids: what the index tells of, and what lies behind it. The braces take the placeholders.
IDS_PER_STATEMENT: Final = 500
HAS_INDEXED: Final = "SELECT 1 FROM event_ids WHERE id IN ({}) LIMIT 1"
FOUND_INDEXED: Final = f"""
SELECT {COLUMNS} FROM event_ids i CROSS JOIN event_rows e ON e.position = i.position WHERE i.id IN ({{}})"""
FOUND_BEHIND: Final = f"SELECT {COLUMNS} FROM event_rows e WHERE e.position > ? AND e.id IN ({{}})"

# The events at given positions (a JSON list).
AT_POSITIONS: Final = f"""
SELECT {COLUMNS} FROM event_rows e WHERE e.position IN (SELECT value FROM json_each(?)) ORDER BY e.position"""

# The streams in a range that the index tells of, each with its last event there, by jumps from one id to the next.
STREAMS: Final = """
WITH RECURSIVE names (stream) AS (
    SELECT min(stream) FROM event_streams WHERE stream >= :first AND stream < :end
    UNION ALL
    SELECT (SELECT min(stream) FROM event_streams WHERE stream > names.stream AND stream < :end)
    FROM names WHERE names.stream IS NOT NULL
)
SELECT e.stream, e.version, e.position, e.recorded_at
FROM names CROSS JOIN event_streams s CROSS JOIN event_rows e
ON s.stream = names.stream AND s.version = (SELECT max(version) FROM event_streams WHERE stream = names.stream)
    AND e.position = s.last
LIMIT :limit"""

# The last event of each stream behind the index.
STREAMS_BEHIND: Final = """
SELECT stream, version, position, recorded_at FROM event_rows
WHERE position > ? AND stream >= ? AND stream < ? ORDER BY position"""

# The marked categories, each with its last event, by jumps from one to the next.
CATEGORIES: Final = """
WITH RECURSIVE names (mark) AS (
    SELECT min(mark) FROM marks WHERE mark >= 'category:' AND mark < 'category;'
    UNION ALL
    SELECT (SELECT min(mark) FROM marks WHERE mark > names.mark AND mark < 'category;')
    FROM names WHERE names.mark IS NOT NULL
)
SELECT substr(names.mark, 10), (SELECT max(last) FROM marks WHERE mark = names.mark)
FROM names WHERE names.mark IS NOT NULL"""

# The position of an event that has a mark, above a position.
MARKED_AFTER: Final = "SELECT last FROM marks WHERE mark = ? AND last > ? LIMIT 1"

RECORDED_AT: Final = "SELECT recorded_at FROM event_rows WHERE position = ?"

# How many events have a mark in a range, about, looking at so many lists at most.
COUNT_MARKED: Final = """
SELECT coalesce(sum(count), 0) FROM
    (SELECT count FROM marks WHERE mark = ? AND last > ? AND last <= ? LIMIT ?)"""

ABOVE_ALL_NAMES: Final = "\U0010ffff" * 64


class _Branch(NamedTuple):
    """A walk along one mark, and the item that the events found must match besides (None: no more to ask)."""

    mark: str
    item: QueryItem | None


def head(connection: sqlite3.Connection) -> int:
    """Return the highest position, 0 for an empty log."""
    (position,) = connection.execute(HEAD).fetchone()
    return int(position)


def version(connection: sqlite3.Connection, stream: str) -> int:
    """Return how many events a stream has, within the caller's transaction."""
    behind = connection.execute(VERSION_BEHIND, (indexed_to(connection), stream)).fetchone()[0]
    return int(behind) if behind is not None else indexed_version(connection, stream)


def read_stream(
    run: Run, near: Run, stream: str, after: int, to: int, limit: int | None, backwards: bool, head: int
) -> Iterator[list[Row]]:
    """Yield pages of one stream."""
    order = " DESC" if backwards else ""
    indexed = -1

    def along_index(connection: sqlite3.Connection, low: int, high: int, room: int) -> tuple[list[Row], bool]:
        found = stream_positions(connection, stream, low, high, room, backwards=backwards)
        if found and max(found[0], found[-1]) > indexed:
            found = [position for position in found if position <= indexed]
        return _at_positions(connection, found, room, order)

    def behind_index(connection: sqlite3.Connection, low: int, high: int, room: int) -> tuple[list[Row], bool]:
        values = (indexed, head, stream, low, high, room)
        return _fetch(connection.execute(f"{STREAM_BEHIND}{order} LIMIT ?", values), room)

    def page(connection: sqlite3.Connection, low: int, high: int, room: int) -> tuple[list[Row], bool]:
        nonlocal indexed
        if indexed < 0:
            indexed = min(indexed_to(connection), head)
        first, second = (behind_index, along_index) if backwards else (along_index, behind_index)
        rows, is_cut = first(connection, low, high, room)
        if is_cut or (rows and _size(rows) > CHUNK_BYTES // 2):
            return rows, True
        more, is_cut = second(connection, low, high, room - len(rows))
        return rows + more, is_cut

    return _pages(run, page, VERSION, after, to, limit, backwards, near)


def read_log(run: Run, after: int, to: int, limit: int | None, backwards: bool) -> Iterator[list[Row]]:
    """Yield pages of the whole log."""
    statement = f"{LOG}{' DESC' if backwards else ''} LIMIT ?"

    def page(connection: sqlite3.Connection, low: int, high: int, room: int) -> tuple[list[Row], bool]:
        return _fetch(connection.execute(statement, (low, high, room)), room)

    return _pages(run, page, POSITION, after, to, limit, backwards)


def read_correlated(run: Run, correlation_id: str, after: int, to: int) -> Iterator[list[Row]]:
    """Yield pages of the events of one correlation id."""

    def page(connection: sqlite3.Connection, low: int, high: int, room: int) -> tuple[list[Row], bool]:
        indexed = indexed_to(connection)
        along = connection.execute(CORRELATED_INDEXED, (correlation_id, low, min(high, indexed), room))
        rows, is_cut = _fetch(along, room)
        if is_cut:
            return rows, True
        behind = connection.execute(CORRELATED_BEHIND, (max(low, indexed), high, correlation_id, room - len(rows)))
        more, is_cut = _fetch(behind, room - len(rows))
        return rows + more, is_cut

    return _pages(run, page, POSITION, after, to, None, backwards=False)


def read_query(run: Run, query: Query, after: int, to: int, limit: int | None, backwards: bool) -> Iterator[list[Row]]:
    """Yield pages of the events that match a query."""
    if query.is_everything:
        return read_log(run, after, to, limit, backwards)
    plan: list[_Plan] = []

    def page(connection: sqlite3.Connection, low: int, high: int, room: int) -> tuple[list[Row], bool]:
        if not plan:
            plan.append(_plan(connection, query, low, high))
        positions = _positions(connection, plan[0], low, high, room, backwards)
        return _at_positions(connection, positions, room, " DESC" if backwards else "")

    return _pages(run, page, POSITION, after, to, limit, backwards)


def first_match(connection: sqlite3.Connection, query: Query, after: int, to: int) -> int | None:
    """Return the position of one event that matches in a range whose end the index tells of, or None."""
    if after >= to:
        return None
    for item in query.items:
        found = _match_of(connection, item, after, to)
        if found is not None:
            return found
    return None if query.items else to


def _match_of(connection: sqlite3.Connection, item: QueryItem, after: int, to: int) -> int | None:
    asked = groups(item)
    if not asked:
        return to
    if len(asked) > 1:
        branches = list(_branches(connection, item, after, to))
        found = _marked_positions(connection, branches, after, to, 1, backwards=False)
        return found[0] if found else None
    for mark in asked[0]:
        row = connection.execute(MARKED_AFTER, (mark, after)).fetchone()
        if row is not None:
            return int(row[0])
    return None


def find(connection: sqlite3.Connection, ids: Sequence[bytes]) -> list[Row]:
    """Return the events of these ids that are there, in order of position."""
    indexed = indexed_to(connection)
    rows: set[Row] = set()
    for some, marks in _in_parts(ids):
        rows.update(connection.execute(FOUND_INDEXED.format(marks), some))
        rows.update(connection.execute(FOUND_BEHIND.format(marks), (indexed, *some)))
    return sorted(rows)


def has_indexed(connection: sqlite3.Connection, ids: Sequence[bytes]) -> bool:
    """Tell whether the index tells of any of these ids."""
    return any(connection.execute(HAS_INDEXED.format(marks), some).fetchone() for some, marks in _in_parts(ids))


def _in_parts(ids: Sequence[bytes]) -> Iterator[tuple[list[bytes], str]]:
    """Yield ids, as many at a time as one statement takes, with the placeholders for them."""
    distinct = list(dict.fromkeys(ids))
    for start in range(0, len(distinct), IDS_PER_STATEMENT):
        some = distinct[start : start + IDS_PER_STATEMENT]
        yield some, ",".join("?" * len(some))


def streams(run: Run, category: str | None, after: str, limit: int | None) -> Iterator[list[StreamInfo]]:
    """Yield pages of streams in order of id. The ids of a category are its bare name and all from `name-` to `name.`."""
    ranges = [("", ABOVE_ALL_NAMES)]
    if category is not None:
        ranges = [] if "-" in category else [(category, _successor(category)), (f"{category}-", f"{category}.")]
    for first, end in ranges:
        for page in _streams_between(run, max(first, _successor(after)), end, limit):
            limit = None if limit is None else limit - len(page)
            yield page


def categories(connection: sqlite3.Connection) -> list[CategoryInfo]:
    """Return the categories in order of name."""
    last: dict[str, int] = dict(connection.execute(CATEGORIES))
    for named in named_between(connection, indexed_to(connection), head(connection)):
        if named.stream is not None:
            last[category_of(named.stream)] = named.position
    times = {name: connection.execute(RECORDED_AT, (position,)).fetchone()[0] for name, position in last.items()}
    return [CategoryInfo(name, last[name], moment(times[name])) for name in sorted(last)]


def position_at(connection: sqlite3.Connection, recorded_at: int) -> int:
    """Return the last position recorded at or before a time, found from the end: exact whatever the clock did."""
    row = connection.execute(
        "SELECT position FROM event_rows WHERE recorded_at <= ? ORDER BY position DESC LIMIT 1", (recorded_at,)
    ).fetchone()
    return int(row[0]) if row else 0


def _at_positions(
    connection: sqlite3.Connection, positions: list[int], room: int, order: str
) -> tuple[list[Row], bool]:
    """Return the events at positions of which at most `room` were asked for, and whether there may be more."""
    if not positions:
        return [], False
    first, last = min(positions[0], positions[-1]), max(positions[0], positions[-1])
    if last - first == len(positions) - 1:
        cursor = connection.execute(f"{LOG}{order}", (first - 1, last))
    else:
        cursor = connection.execute(f"{AT_POSITIONS}{order}", (msgspec.json.encode(positions).decode(),))
    rows, is_cut = _fetch(cursor, len(positions))
    return rows, is_cut if len(rows) < len(positions) else len(positions) == room


def _pages(
    run: Run,
    page: Page,
    key: int,
    after: int,
    to: int,
    limit: int | None,
    backwards: bool,
    near: Run | None = None,
) -> Iterator[list[Row]]:
    """Yield pages until the range or the limit ends; between two pages no statement is open.

    Where there is a `near` way to a connection, the first page goes by it, and is a small one.
    """
    more = limit is None or limit > 0
    way, room = (run, CHUNK_ROWS) if near is None else (near, NEAR_ROWS)
    while more and after < to:
        rows, more = way(partial(page, low=after, high=to, room=room if limit is None else min(limit, room)))
        way, room = run, CHUNK_ROWS
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
    rows: list[Row] = []
    size, step = 0, FIRST_FETCH_ROWS
    while size < CHUNK_BYTES and len(rows) < room:
        part = cursor.fetchmany(step)
        rows += part
        if len(part) < step:
            return rows, len(rows) == room
        size += _size(part)
        step = min(step * 4, FETCH_ROWS)
    cursor.close()
    return rows, True


_data_of = itemgetter(DATA)


def _size(rows: list[Row]) -> int:
    return sum(map(len, map(_data_of, rows)))


class _Plan(NamedTuple):
    """How to find the events of a query: along marks up to `indexed_to`, by looking through them above it."""

    query: Query
    branches: list[_Branch]
    indexed_to: int


def _plan(connection: sqlite3.Connection, query: Query, after: int, to: int) -> _Plan:
    """Choose for each item of a query the marks to follow: those of its narrowest part."""
    marks_end = indexed_to(connection)
    if to - after <= SHORT_RANGE or after >= marks_end:
        return _Plan(query, [], min(after, marks_end))
    branches = [branch for item in query.items for branch in _branches(connection, item, after, to)]
    return _Plan(query, branches, marks_end)


def _positions(
    connection: sqlite3.Connection, plan: _Plan, low: int, high: int, room: int, backwards: bool
) -> list[int]:
    """Return the first `room` positions in the range whose events match, in order."""

    def along_marks() -> list[int]:
        return _marked_positions(connection, plan.branches, low, min(high, plan.indexed_to), room, backwards)

    def behind_marks() -> list[int]:
        return _looked_through(connection, plan.query, max(low, plan.indexed_to), high, backwards)

    first, second = (behind_marks, along_marks) if backwards else (along_marks, behind_marks)
    found = first()
    return found[:room] if len(found) >= room else (found + second())[:room]


def _looked_through(connection: sqlite3.Connection, query: Query, low: int, high: int, backwards: bool) -> list[int]:
    if low >= high:
        return []
    found = [
        named.position
        for named in named_between(connection, low, high)
        if query.matches(named.type, named.tags, named.stream)
    ]
    return found[::-1] if backwards else found


def _marked_positions(
    connection: sqlite3.Connection, branches: list[_Branch], low: int, high: int, room: int, backwards: bool
) -> list[int]:
    if low >= high:
        return []
    found = {position for branch in branches for position in _along(connection, branch, low, high, room, backwards)}
    return sorted(found, reverse=backwards)[:room]


def _along(
    connection: sqlite3.Connection, branch: _Branch, low: int, high: int, room: int, backwards: bool
) -> list[int]:
    """Return the first `room` positions of one branch in the range, in order."""
    found: list[int] = []
    for some in marked(connection, branch.mark, low, high, backwards=backwards):
        found += some if branch.item is None else matching(connection, branch.item, some)
        if len(found) >= room:
            break
    return found[:room]


def _narrowest(connection: sqlite3.Connection, item: QueryItem, after: int, to: int) -> int:
    """Return which of an item's groups has the fewest events in the range, as far as it pays to count."""
    found = groups(item)
    if len(found) > 1:
        for step in COUNT_STEPS:
            counts = [_count(connection, group, after, to, step) for group in found]
            if min(counts) < step:
                return counts.index(min(counts))
    return 0


def _count(connection: sqlite3.Connection, group: Group, after: int, to: int, most: int) -> int:
    """Count the events of a group in the range, up to `most`."""
    total = 0
    for mark in group:
        (count,) = connection.execute(COUNT_MARKED, (mark, after, to, most - total)).fetchone()
        total += count
        if total >= most:
            break
    return total


def _branches(connection: sqlite3.Connection, item: QueryItem, after: int, to: int) -> Iterator[_Branch]:
    """Yield a walk for each mark of the item's narrowest group; what is found has to match its other groups."""
    found = groups(item)
    narrowest = found[_narrowest(connection, item, after, to)]
    for mark in narrowest:
        yield _Branch(mark, item if len(found) > 1 else None)


def _successor(name: str) -> str:
    """Return the least text above a name."""
    return f"{name}\x00"


def _streams_between(run: Run, first: str, end: str, limit: int | None) -> Iterator[list[StreamInfo]]:
    """Yield pages of the streams from `first` on, below `end`."""
    while limit is None or limit > 0:
        room = CHUNK_ROWS if limit is None else min(limit, CHUNK_ROWS)
        rows = run(partial(_streams_page, first=first, end=end, room=room))
        if rows:
            yield [StreamInfo(stream, version, position, moment(at)) for stream, version, position, at in rows]
        if len(rows) < room:
            return
        first = _successor(rows[-1][0])
        limit = None if limit is None else limit - len(rows)


def _streams_page(connection: sqlite3.Connection, first: str, end: str, room: int) -> list[tuple[str, int, int, int]]:
    indexed = indexed_to(connection)
    rows = connection.execute(STREAMS, {"first": first, "end": end, "limit": room}).fetchall()
    if len(rows) == room:
        end = _successor(rows[-1][0])
    last = {row[0]: row for row in rows}
    last.update({row[0]: row for row in connection.execute(STREAMS_BEHIND, (indexed, first, end))})
    return sorted(last.values())[:room]

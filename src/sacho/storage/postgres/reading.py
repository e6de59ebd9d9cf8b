"""Reading: statements and pages. Each page is a statement of its own, so nothing stays open while a reader pauses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sacho.events import Query
from sacho.storage.port import CHUNK_BYTES, CHUNK_ROWS, Bounds, CategoryInfo, Row, StreamInfo, moment
from sacho.storage.postgres.calls import indexed, query_text
from sacho.storage.postgres.packing import MAX_BIGINT

if TYPE_CHECKING:
    from sacho.storage.postgres.connecting import Connection, Readers

T = TypeVar("T")

ROW_COLUMNS: Final = ("position", "stream", "version")
"""The first columns of a row; pages follow one of them."""
COLUMNS: Final = (
    "position, stream, version, type, schema_version, data, uuid_send(id) AS id, tags, metadata, recorded_at"
)
PAGE: Final = """
SELECT position, stream, version, type, schema_version, data, id, tags, metadata, recorded_at
FROM (
    SELECT {columns}, sum(octet_length(data)) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING)
        - octet_length(data) AS before
    FROM {schema}.event_rows
    WHERE {where}
    ORDER BY {order}
    LIMIT %(most)s::integer
) AS page
WHERE before < {bytes}
ORDER BY {order}
"""
"""A page: at most so many rows, and no more once their JSON has reached so many bytes (of which only sizes are looked at)."""

OF_STREAM: Final = "stream = %(stream)s::text AND version > %(after)s AND version <= %(to)s AND position <= %(head)s"
OF_LOG: Final = "position > %(after)s AND position <= %(to)s"
OF_QUERY: Final = """position = ANY (ARRAY(
    SELECT {schema}.matches(%(query)s::text, %(after)s, %(to)s, %(most)s::integer, {backwards})))"""
OF_CORRELATION: Final = "correlation_id = %(id)s::text AND position > %(after)s AND position <= %(to)s"

HEAD: Final = "SELECT {schema}.head()"
BOUNDS: Final = """
SELECT {schema}.head(), coalesce((
    SELECT position FROM {schema}.event_rows WHERE stream = %(stream)s::text ORDER BY version DESC LIMIT 1), 0)
"""
"""The head, and the last position of a stream, which ends an append of it."""
FIND: Final = "SELECT {columns} FROM {schema}.event_rows WHERE id = ANY (%(ids)s::uuid[]) ORDER BY position"
STREAMS: Final = """
WITH RECURSIVE listed AS (
    (SELECT stream, 1 AS number FROM {schema}.event_rows
     WHERE stream > %(after)s::text AND stream >= %(first)s::text AND {below} ORDER BY stream LIMIT 1)
    UNION ALL
    SELECT following.stream, listed.number + 1
    FROM listed, LATERAL (
        SELECT stream FROM {schema}.event_rows WHERE stream > listed.stream AND {below} ORDER BY stream LIMIT 1
    ) AS following
    WHERE listed.number < %(most)s
)
SELECT listed.stream, final.version, final.position, final.recorded_at
FROM listed, LATERAL (
    SELECT version, position, recorded_at FROM {schema}.event_rows
    WHERE stream = listed.stream ORDER BY version DESC LIMIT 1
) AS final
ORDER BY listed.stream
"""
"""Streams in order, each found from the one before it by the index: none of their events is passed one by one."""
LAST: Final = """
SELECT final.* FROM unnest(%(streams)s::text[]) AS wanted(name), LATERAL (
    SELECT {columns} FROM {schema}.event_rows WHERE stream = wanted.name ORDER BY version DESC LIMIT 1
) AS final
"""
BELOW: Final = "stream < %(below)s::text"
CATEGORIES: Final = """
WITH RECURSIVE listed AS (
    (SELECT split_part(stream, '-', 1) AS category FROM {schema}.event_rows WHERE stream IS NOT NULL
     ORDER BY split_part(stream, '-', 1) LIMIT 1)
    UNION ALL
    SELECT following.category
    FROM listed, LATERAL (
        SELECT split_part(stream, '-', 1) AS category FROM {schema}.event_rows
        WHERE stream IS NOT NULL AND split_part(stream, '-', 1) > listed.category
        ORDER BY split_part(stream, '-', 1) LIMIT 1
    ) AS following
)
SELECT listed.category, final.position, final.recorded_at
FROM listed, LATERAL (
    SELECT position, recorded_at FROM {schema}.event_rows
    WHERE stream IS NOT NULL AND (split_part(stream, '-', 1), position) <= (listed.category, 9223372036854775807)
    ORDER BY split_part(stream, '-', 1) DESC, position DESC LIMIT 1
) AS final
ORDER BY listed.category
"""
POSITION_AT: Final = """
SELECT position FROM {schema}.event_rows WHERE recorded_at <= %(at)s AND position <= %(head)s
ORDER BY position DESC LIMIT 1
"""
LOG_BYTES: Final = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind = 'r'
"""


class Reading:
    """The statements of one log, run on connections that `run` lends."""

    def __init__(self, readers: Readers, schema: str) -> None:
        self._run = readers.run
        self._readers = readers
        self._schema = schema
        self._highest = (0, 0)

    def head(self) -> int:
        """Return the head."""
        return self._risen(self._rows(HEAD.format(schema=self._schema), {})[0][0])

    def bounds(self, stream: str) -> Bounds:
        """Return the head, and up to where a stream may be read now."""
        head, last = self._rows(BOUNDS.format(schema=self._schema), {"stream": stream})[0]
        return Bounds(self._risen(head), last)

    def stream(
        self, stream: str, after: int, to: int | None, limit: int | None, head: int, *, backwards: bool
    ) -> Iterator[list[Row]]:
        """Yield pages of one stream."""
        values = {
            "stream": stream,
            "after": _cut(after),
            "to": _cut(MAX_BIGINT if to is None else to),
            "head": _cut(head),
        }
        return self._pages(OF_STREAM, "version", values, limit, backwards=backwards)

    def last(self, streams: Sequence[str]) -> list[Row]:
        """Return the last event of each stream."""
        return self._rows(LAST.format(schema=self._schema, columns=COLUMNS), {"streams": list(streams)})

    def query(self, query: Query, after: int, to: int, limit: int | None, *, backwards: bool) -> Iterator[list[Row]]:
        """Yield pages of the events that match."""
        values: dict[str, Any] = {"after": _cut(after), "to": _cut(to)}
        if query.is_everything:
            return self._pages(OF_LOG, "position", values, limit, backwards=backwards)
        values["query"] = query_text(query)
        return self._pages(OF_QUERY, "position", values, limit, backwards=backwards)

    def correlated(self, correlation_id: str, after: int, to: int) -> Iterator[list[Row]]:
        """Yield pages of the events of one correlation id."""
        values = {"id": indexed(correlation_id), "after": _cut(after), "to": _cut(to)}
        return self._pages(OF_CORRELATION, "position", values, None, backwards=False)

    def find(self, ids: Sequence[bytes]) -> list[Row]:
        """Return the events of these ids."""
        texts = [id.hex() for id in ids]
        return self._rows(FIND.format(schema=self._schema, columns=COLUMNS), {"ids": texts})

    def streams(self, category: str | None, after: str, limit: int | None) -> Iterator[list[StreamInfo]]:
        """Yield pages of streams."""
        after = after.partition("\0")[0]  # no name has a NUL, and PostgreSQL's text has none
        ranges = [("", "")] if category is None else [(category, f"{category}\1"), (f"{category}-", f"{category}.")]
        if category is not None and "-" in category:
            return
        left = MAX_BIGINT if limit is None else limit
        for first, below in ranges:
            for page in self._streams(after, first, below, left):
                yield page
                left -= len(page)

    def categories(self) -> list[CategoryInfo]:
        """Return the categories."""
        rows = self._rows(CATEGORIES.format(schema=self._schema), {})
        return [CategoryInfo(category, position, moment(at)) for category, position, at in rows]

    def position_at(self, recorded_at: int) -> int:
        """Return the last position recorded at or before a time that readers may be shown."""
        rows = self._rows(POSITION_AT.format(schema=self._schema), {"at": _cut(recorded_at), "head": self.head()})
        return rows[0][0] if rows else 0

    def log_bytes(self) -> int:
        """Return how large the tables are, with their indexes."""
        size: int = self._rows(LOG_BYTES, {"schema": self._schema})[0][0]
        return size

    def _risen(self, head: int) -> int:
        """Return the highest head that was told, so that it never falls.

        An append that reads the sequence and then is slow to register holds the head back for a moment, below what was
        told before, though nothing can appear there any more. What was told is forgotten with a lost connection: the
        next one may be to a server that has lost the end of the log.
        """
        losses = self._readers.losses
        since, highest = self._highest
        if since != losses or head > highest:
            self._highest = (losses, head)
            return head
        return highest

    def _pages(
        self, where: str, order: str, values: dict[str, Any], limit: int | None, *, backwards: bool
    ) -> Iterator[list[Row]]:
        """Yield pages of what the condition means, in order of the column `order`, which `after` and `to` bound."""
        statement = PAGE.format(
            columns=COLUMNS,
            order=f"{order} DESC" if backwards else order,
            schema=self._schema,
            where=where.format(schema=self._schema, backwards="true" if backwards else "false"),
            bytes=CHUNK_BYTES,
        )
        column = ROW_COLUMNS.index(order)
        left = MAX_BIGINT if limit is None else limit
        while left > 0:
            most = min(left, CHUNK_ROWS)
            rows = self._rows(statement, {**values, "most": most})
            if rows:
                yield rows
            if len(rows) < most and sum([len(row[5]) for row in rows]) < CHUNK_BYTES:
                return
            left -= len(rows)
            values["to" if backwards else "after"] = rows[-1][column] - backwards

    def _streams(self, after: str, first: str, below: str, left: int) -> Iterator[list[StreamInfo]]:
        """Yield pages of the streams above `after`, from `first` on, below `below` (empty: no bound)."""
        bound = BELOW if below else "true"
        statement = STREAMS.format(schema=self._schema, below=bound)
        while left > 0:
            most = min(left, CHUNK_ROWS)
            rows = self._rows(statement, {"after": after, "first": first, "below": below, "most": most})
            if rows:
                yield [StreamInfo(stream, version, position, moment(at)) for stream, version, position, at in rows]
            if len(rows) < most:
                return
            left -= len(rows)
            after = rows[-1][0]

    def _rows(self, statement: str, values: dict[str, Any]) -> list[Any]:
        def execute(connection: Connection) -> list[Any]:
            with connection.cursor(binary=True) as cursor:
                return cursor.execute(statement, values).fetchall()

        return self._run(execute)


def _cut(bound: int) -> int:
    """Return a bound as large as the database's integers get."""
    return min(bound, MAX_BIGINT)

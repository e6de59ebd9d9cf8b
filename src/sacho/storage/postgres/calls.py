"""How writes are handed to the append function of the database, and how its answer is read."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from sacho.errors import AppendConditionFailed, CorruptLog, SachoError, WrongExpectedVersion
from sacho.events import EXISTS, Appended, EncodedEvent, Expected, ExpectedVersion, Query, Write
from sacho.storage.port import Outcome, Row, encode_tags, row_of
from sacho.storage.postgres.packing import (
    bigint,
    bigints,
    bigints_of,
    boolean,
    booleans,
    integer,
    integers,
    texts,
    uuids,
)

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

APPEND: Final = "SELECT {columns} FROM {schema}.append({arguments})"
ANSWER: Final = "outcome, version, position"
SHORT_COLUMNS: Final = 3
LONG_ANSWER: Final = f"{ANSWER}, recorded_at, positions"
"""What is asked for where views are to take the events."""
ARGUMENTS: Final = (
    "bigint[]",
    *("integer[]", "integer[]", "boolean[]", "bigint[]", "text[]"),
    *("text[]", "bigint[]", "integer[]"),
    *("uuid[]", "text[]", "integer[]", "text[]", "text[]", "text[]", "text[]", "integer[]", "text[]"),
    *("boolean", "boolean", "boolean", "boolean", "integer", "integer", "bigint"),
)
"""The types of the append function's arguments."""

ACCEPTED, WRONG_VERSION, CONDITION_FAILED, IDS_FOUND, OTHER_VIEWS = range(5)

_integer = Struct("!i").unpack
_bigint = Struct("!q").unpack
_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """A row of the function's answer; the last two are those of a long one."""

    outcome: int
    version: int | None
    position: int | None
    recorded_at: int | None = None
    positions: list[int] | None = None


class Mode(NamedTuple):
    """What the append function is told of the call; see there."""

    careful: bool = False
    accepted: bool = True
    again: bool = False
    relaxed: bool = False
    lock_wait: int | None = None
    idle: int | None = None
    known_change: int = 0


class Columns:
    """Events in columns, as the functions of the database take them."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self.types: list[str] = []
        self.schema_versions: list[int] = []
        self.data: list[str] = []
        self.tags: list[str | None] = []
        self.metadata: list[str | None] = []
        self.correlation_ids: list[str | None] = []
        self.tag_events: list[int] = []
        self.tag_names: list[str] = []

    def add(self, event: EncodedEvent) -> None:
        """Add one event behind the others."""
        self.ids.append(event.id)
        self.types.append(event.type)
        self.schema_versions.append(event.schema_version)
        self.data.append(event.data)
        self.tags.append(encode_tags(event.tags))
        self.metadata.append(event.metadata)
        self.correlation_ids.append(None if event.correlation_id is None else indexed(event.correlation_id))
        for tag in event.tags:
            self.tag_events.append(len(self.ids))
            self.tag_names.append(tag)

    def packed(self) -> list[bytes]:
        """Return the events' columns."""
        return [
            uuids(self.ids),
            texts(self.types),
            integers(self.schema_versions),
            texts(self.data),
            texts(self.tags),
            texts(self.metadata),
            texts(self.correlation_ids),
        ]

    def packed_tags(self) -> list[bytes]:
        """Return the tags' columns."""
        return [integers(self.tag_events), texts(self.tag_names)]


def arguments(writes: Sequence[Write], locks: Sequence[int], mode: Mode) -> list[bytes | None]:
    """Return the arguments of the append function, in binary form."""
    columns = Columns()
    write_tags: list[int] = []
    part_events: list[int] = []
    for write in writes:
        before = len(columns.tag_events)
        for part in write.parts:
            part_events.append(len(part.events))
            for event in part.events:
                columns.add(event)
        write_tags.append(len(columns.tag_events) - before)
    parts = [part for write in writes for part in write.parts]
    conditions = [write.condition for write in writes]
    careful, accepted, again, relaxed, lock_wait, idle, known_change = mode
    return [
        bigints(locks),
        integers([len(write.parts) for write in writes]),
        integers(write_tags),
        booleans([write.follows for write in writes]),
        bigints([None if condition is None else condition.after for condition in conditions]),
        texts([None if condition is None else query_text(condition.query) for condition in conditions]),
        texts([part.stream for part in parts]),
        bigints([_expected(part.expected) for part in parts]),
        integers(part_events),
        *columns.packed(),
        *columns.packed_tags(),
        boolean(careful),
        boolean(accepted),
        boolean(again),
        boolean(relaxed),
        integer(lock_wait),
        integer(idle),
        bigint(known_change),
    ]


def answers(result: PGresult) -> list[Answer]:
    """Return the rows of the function's answer, which is in binary form."""
    rows: list[Answer] = []
    is_long = result.nfields > SHORT_COLUMNS
    for row in range(result.ntuples):
        outcome, version, position = (result.get_value(row, column) for column in range(3))
        recorded_at, positions = (result.get_value(row, 3), result.get_value(row, 4)) if is_long else (None, None)
        rows.append(
            Answer(
                _integer(outcome or b"\0\0\0\0")[0],
                None if version is None else _bigint(version)[0],
                None if position is None else _bigint(position)[0],
                None if recorded_at is None else _bigint(recorded_at)[0],
                None if positions is None else bigints_of(positions),
            )
        )
    return rows


def outcomes(writes: Sequence[Write], rows: Sequence[Answer]) -> list[Outcome | None]:
    """Return what became of each write; None where ids of it were found, and only the events themselves can tell."""
    found: list[Outcome | None] = []
    at = 0
    for write in writes:
        outcome, version, position, *_ = rows[at]
        if outcome == ACCEPTED:
            count = len(write.parts)
            found.append([Appended(row[1], row[2] or 0) for row in rows[at : at + count]])
            at += count
            continue
        at += 1
        found.append(None if outcome == IDS_FOUND else _refusal(write, outcome, version, position or 0))
    return found


def rows_written(writes: Sequence[Write], answers: Sequence[Answer]) -> list[Row]:
    """Return the events of the writes that were accepted, as they are stored. The answer is a long one."""
    found: list[Row] = []
    at = 0
    for write in writes:
        if answers[at].outcome != ACCEPTED:
            at += 1
            continue
        for part in write.parts:
            _, version, position, recorded_at, positions = answers[at]
            at += 1
            before = None if version is None else version - len(part.events)
            for number, (event, place) in enumerate(zip(part.events, positions or [position or 0], strict=True), 1):
                own = None if before is None else before + number
                found.append(row_of(place, part.stream, own, event, recorded_at or 0))
    return found


def indexed(correlation_id: str) -> str:
    """Return a correlation id as it stands in its index: PostgreSQL's text has no NUL."""
    return correlation_id.replace("\\", "\\\\").replace("\0", "\\0")


def query_text(query: Query) -> str:
    """Return a query in the form that the function `matches` takes."""
    if query.is_everything:
        return "[{}]"
    return _encode(
        [{"types": item.types, "tags": item.tags, "categories": item.categories} for item in query.items]
    ).decode()


def _refusal(write: Write, outcome: int, version: int | None, position: int) -> SachoError:
    if outcome == CONDITION_FAILED and write.condition is not None:
        return AppendConditionFailed(write.condition.after, position)
    if outcome == WRONG_VERSION:
        part = write.parts[position - 1]
        return WrongExpectedVersion(str(part.stream), part.expected, version or 0)
    return CorruptLog("the database", f"its function append answered {outcome}")


def _expected(expected: ExpectedVersion) -> int | None:
    if isinstance(expected, Expected):
        return -1 if expected is EXISTS else None
    return expected


def statement(schema: str, arguments: Sequence[Any], columns: str = ANSWER) -> str:
    """Return the call of the append function, with the arguments' places or names."""
    typed = ", ".join(f"{argument}::{type}" for argument, type in zip(arguments, ARGUMENTS, strict=True))
    return APPEND.format(columns=columns, schema=schema, arguments=typed)

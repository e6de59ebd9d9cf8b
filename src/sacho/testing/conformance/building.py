"""What the tests of the suite are built of: encoded events, appends and reads through the port, and waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from random import Random
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from sacho.events import (
    ANY,
    AppendCondition,
    Appended,
    EncodedEvent,
    ExpectedVersion,
    Query,
    QueryItem,
    StreamWrite,
    Write,
)
from sacho.storage.port import Row, Storage, StreamInfo
from sacho.store.ids import new_id

Reopen: TypeAlias = Callable[[], Storage] | None
"""Makes another engine on the same log, as another process would; None where the log lives in the engine alone."""

E = TypeVar("E", bound=BaseException)

PATIENCE: Final = 120.0
"""For how many seconds something that must happen soon is waited for before the test fails."""

TYPES: Final = ("Opened", "Reserved", "Closed")
TAGS: Final = ("seat:1", "seat:2", "seat:3", "guest:a", "guest:ä")
CATEGORIES: Final = ("seats", "orders", "söme")

_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode


def noted(
    type: str = "Noted",
    data: str = "{}",
    *,
    tags: Sequence[str] = (),
    id: bytes | None = None,
    metadata: str | None = None,
    correlation_id: str | None = None,
    schema_version: int = 1,
) -> EncodedEvent:
    """Return an encoded event with a new id, unless one is given."""
    return EncodedEvent(
        new_id() if id is None else id, type, schema_version, data, tuple(sorted(tags)), metadata, correlation_id
    )


def notes(count: int) -> list[EncodedEvent]:
    """Return so many events, numbered in their data."""
    return [noted(data=f'{{"number":{number}}}') for number in range(1, count + 1)]


def part(stream: str | None, *events: EncodedEvent, expected: ExpectedVersion = ANY) -> StreamWrite:
    """Return a part of a write."""
    return StreamWrite(stream, list(events), expected)


def writing(
    stream: str | None,
    *events: EncodedEvent,
    expected: ExpectedVersion = ANY,
    condition: AppendCondition | None = None,
) -> Write:
    """Return a write of one part."""
    return Write((part(stream, *events, expected=expected),), condition)


def append(
    storage: Storage,
    stream: str | None,
    *events: EncodedEvent,
    expected: ExpectedVersion = ANY,
    condition: AppendCondition | None = None,
) -> Appended:
    """Append to one stream; return what was made of it."""
    (appended,) = storage.write(writing(stream, *events, expected=expected, condition=condition))
    return appended


def everything(storage: Storage) -> list[Row]:
    """Return the whole log in order."""
    return matching(storage, Query())


def matching(
    storage: Storage,
    query: Query,
    *,
    after: int = 0,
    to: int | None = None,
    limit: int | None = None,
    backwards: bool = False,
) -> list[Row]:
    """Return the events that match, in the order they come."""
    last = storage.head() if to is None else to
    return joined(storage.read_all(query, after=after, to=last, limit=limit, backwards=backwards))


def of_stream(
    storage: Storage,
    stream: str,
    *,
    after: int = 0,
    to: int | None = None,
    limit: int | None = None,
    backwards: bool = False,
    head: int | None = None,
) -> list[Row]:
    """Return the events of one stream, in the order they come."""
    last = storage.head() if head is None else head
    return joined(storage.read(stream, after=after, to=to, limit=limit, backwards=backwards, head=last))


def listed(
    storage: Storage, category: str | None = None, *, after: str = "", limit: int | None = None
) -> list[StreamInfo]:
    """Return the streams of the log."""
    return list(chain.from_iterable(storage.streams(category=category, after=after, limit=limit)))


def joined(pages: Iterable[list[Row]]) -> list[Row]:
    """Return the rows of all pages."""
    return list(chain.from_iterable(pages))


def positions(rows: Iterable[Row]) -> list[int]:
    """Return where the rows stand in the log."""
    return [row[0] for row in rows]


def tags_of(row: Row) -> tuple[str, ...]:
    """Return a row's tags."""
    return _decode_tags(row[7]) if row[7] else ()


def is_meant(query: Query, row: Row) -> bool:
    """Tell whether a query means a row, in the plainest way."""
    return query.matches(row[3], tags_of(row), row[1])


def condition(*items: QueryItem, after: int = 0) -> AppendCondition:
    """Return the condition that nothing after a position matches."""
    return AppendCondition(Query(*items), after)


def raises(kind: type[E], action: Callable[[], Any]) -> E:
    """Return the error of this kind that the action raises; fail if it raises none."""
    try:
        result = action()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised; the result was {result!r}")


def asks_for(storage: Storage, capability: str) -> None:
    """Leave the test out, and say so, where the engine does not offer the capability."""
    if capability not in storage.capabilities:
        import pytest

        pytest.skip(f"the {storage.name} engine does not offer {capability!r}")


def reopened(storage: Storage, reopen: Reopen, capability: str) -> Storage:
    """Return another engine on the same log; an engine that offers the capability must have one."""
    asks_for(storage, capability)
    assert reopen is not None, f"an engine that offers {capability!r} needs a fixture `reopen` that gives a function"
    return reopen()


def comes_true(event: threading.Event) -> bool:
    """Wait for an event that must come soon."""
    return event.wait(PATIENCE)


def some_event(random: Random) -> EncodedEvent:
    """Return an event with a type and tags by chance."""
    return noted(random.choice(TYPES), tags=random.sample(TAGS, random.randrange(4)))


def some_stream(random: Random) -> str | None:
    """Return one of a few streams by chance, or none."""
    return random.choice([None, *(f"{category}-{key}" for category in CATEGORIES for key in (1, 2)), *CATEGORIES])


def some_query(random: Random) -> Query:
    """Return a query by chance: of no item, one or several, each with some of its parts."""
    return Query(*(_some_item(random) for _ in range(random.choice([0, 1, 1, 1, 2, 3]))))


def filled(storage: Storage, random: Random, count: int) -> list[Row]:
    """Append so many events by chance, a few at a time; return the whole log."""
    while count > 0:
        batch = min(count, random.randrange(1, 8))
        append(storage, some_stream(random), *(some_event(random) for _ in range(batch)))
        count -= batch
    return everything(storage)


def uuids(ids: Iterable[bytes]) -> set[UUID]:
    """Return ids as UUIDs."""
    return {UUID(bytes=id) for id in ids}


def _some_item(random: Random) -> QueryItem:
    return QueryItem(
        types=random.sample((*TYPES, "Never"), random.choice([0, 0, 1, 2])),
        tags=random.sample((*TAGS, "seat:never"), random.choice([0, 0, 1, 1, 2])),
        categories=random.sample((*CATEGORIES, "never"), random.choice([0, 0, 1, 2])),
    )

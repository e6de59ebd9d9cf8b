"""Logs that have everything an event may have, and what they hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import chain
from random import Random
from typing import Any

from sacho import EventData, EventStore, Query, QueryItem, RawEvent
from sacho.operations import Progress
from sacho.storage.port import ImportedEvent, Row
from sacho.testing.conformance.building import noted

STREAMS = ("seats-1", "seats-2", "orders-ä", "orders", None)
TEXTS = ("", "\x00", "a\x00b", "한글 😀", '"\\', "\u2028", "null", "x" * 3_000)


def imported(random: Random, count: int, *, gaps: bool = True) -> list[ImportedEvent]:
    """Return events by chance: of some streams and of none, with and without tags and metadata, with gaps between them,
    and times that go up and down."""
    position, versions, found = 0, dict.fromkeys(STREAMS, 0), []
    for number in range(count):
        position += random.choice([1, 1, 1, 2, 1_000]) if gaps else 1
        stream = random.choice(STREAMS)
        versions[stream] += 1
        correlation = random.choice([None, "c1", "c2"])
        metadata = random.choice([None, {}, {"actor": random.choice(TEXTS)}])
        if correlation is not None:
            metadata = {"correlation_id": correlation, **(metadata or {})}
        event = noted(
            random.choice(["Opened", "Closed", "열림"]),
            json.dumps({"n": number, "text": random.choice(TEXTS)}),
            tags=random.sample(["k:1", "k:2", "k:ä", "l:"], random.randrange(4)),
            metadata=None if metadata is None else json.dumps(metadata),
            correlation_id=correlation,
            schema_version=random.choice([1, 2, 2**31 - 1]),
        )
        version = None if stream is None else versions[stream]
        found.append(ImportedEvent(position, stream, version, event, random.randrange(1, 2**50)))
    return found


def fill(store: EventStore, count: int, seed: int = 1, *, gaps: bool = True) -> None:
    """Put events by chance into an empty log."""
    store.storage.import_events(imported(Random(seed), count, gaps=gaps))


def grow(store: EventStore, count: int = 3) -> None:
    """Append a few events to a log."""
    for number in range(count):
        store.append("seats-1", [EventData(RawEvent("Grown", {"n": number, "nul": "\x00"}), tags=["k:1"])])
    store.append(None, [EventData(RawEvent("Grown", None), metadata={"correlation_id": "c1"})])


def rows(store: EventStore) -> list[Row]:
    """Return the whole log, as the engine gives it out."""
    pages = store.storage.read_all(Query(), after=0, to=store.head(), limit=None, backwards=False)
    return list(chain.from_iterable(pages))


def without_position(found: Iterable[Row]) -> list[tuple[Any, ...]]:
    return [row[1:] for row in found]


def found_by_names(store: EventStore, head: int) -> dict[str, list[bytes]]:
    """Return the ids of what is found by streams and correlation ids, and by every tag and type."""
    storage = store.storage
    found = {
        name: [row[6] for row in chain.from_iterable(storage.correlated(name, after=0, to=head))]
        for name in ("c1", "c2")
    }
    for stream in filter(None, STREAMS):
        pages = storage.read(stream, after=0, to=None, limit=None, backwards=False, head=head)
        found[stream] = [row[6] for row in chain.from_iterable(pages)]
    for item in (
        QueryItem(tags=["k:1"]),
        QueryItem(tags=["k:ä", "l:"]),
        QueryItem(types=["열림"]),
        QueryItem(categories=["orders"]),
    ):
        pages = storage.read_all(Query(item), after=0, to=head, limit=None, backwards=False)
        found[str(item)] = [row[6] for row in chain.from_iterable(pages)]
    return found


class Interrupted(Exception):
    """Ends an operation from within."""


def interrupting(step: str, number: int) -> Callable[[Progress], None]:
    """Return what ends an operation when it tells of a step for the n-th time."""

    def interrupt() -> None:
        raise Interrupted

    return at(step, number, interrupt)


def at(step: str, number: int, action: Callable[[], object]) -> Callable[[Progress], None]:
    """Return what acts when an operation tells of a step for the n-th time."""
    left = number

    def tell(progress: Progress) -> None:
        nonlocal left
        if progress.step == step:
            left -= 1
            if not left:
                action()

    return tell

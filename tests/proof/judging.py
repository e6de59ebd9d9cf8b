"""What a log must be, whatever happened to it: whole, without gaps, and the same by every way of reading."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from pathlib import Path

import psycopg

import sacho
from sacho import EventStore, Query, QueryItem, RecordedEvent
from tests.postgres_server import without_schema

BROKEN_ROWS = """
SELECT position
FROM {schema}.event_rows
    FULL JOIN (SELECT position, array_agg(tag ORDER BY tag) AS found FROM {schema}.event_tags GROUP BY position) AS tagged
    USING (position)
WHERE id IS NULL
    OR coalesce(found, '{{}}')
        <> array(SELECT json_array_elements_text(coalesce(tags, '[]')::json) COLLATE "C" AS tag ORDER BY tag)
    OR append_from >= position
    OR position > (SELECT last_value FROM {schema}.positions)
"""
"""Events whose tags are not those of the index, that begin behind their end, or that the sequence would give out again."""


def check_sound(url: str) -> None:
    """The log is sound as it is stored."""
    if url.startswith("sqlite"):
        check_file(Path(url.removeprefix("sqlite:///")))
    else:
        check_schema(url)


def check_schema(url: str) -> None:
    """The tables agree with each other, and no position can be given out again."""
    server, schema = without_schema(url)
    with psycopg.connect(server, autocommit=True) as connection:
        assert connection.execute(BROKEN_ROWS.format(schema=schema)).fetchall() == []


def check_file(path: Path) -> None:
    """The file is sound in SQLite's own view."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


def check_log(store: EventStore) -> list[RecordedEvent]:
    """Positions ascend, versions have no gap, streams and categories are listed with their last; return all events."""
    events = list(store.read_all(raw=True))
    positions = [one.position for one in events]
    assert positions == sorted(set(positions))
    assert store.head() == (positions[-1] if positions else 0)
    assert len({one.stored_id for one in events}) == len(events)
    streams: dict[str, list[RecordedEvent]] = defaultdict(list)
    for one in events:
        if one.stream is None:
            assert one.version is None
        else:
            streams[one.stream].append(one)
    for stream, found in streams.items():
        assert [one.version for one in found] == list(range(1, len(found) + 1)), stream
    listed = {info.stream: (info.version, info.position) for info in store.streams()}
    assert listed == {stream: (len(found), found[-1].position) for stream, found in streams.items()}
    categories = {stream.partition("-")[0]: 0 for stream in streams}
    assert [info.category for info in store.categories()] == sorted(categories)
    return events


def check_names(store: EventStore, events: list[RecordedEvent], most: int = 60) -> None:
    """Reading by each type, category and tag (`most` of each) finds exactly the events that have it."""
    by_name: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in events:
        by_name["types", one.type].append(one.position)
        if one.stream is not None:
            by_name["categories", one.stream.partition("-")[0]].append(one.position)
        for tag in one.tags:
            by_name["tags", tag].append(one.position)
    tried: Counter[str] = Counter()
    for (part, name), positions in sorted(by_name.items(), key=lambda entry: -len(entry[1])):
        tried[part] += 1
        if tried[part] <= most:
            query = Query(QueryItem(**{part: [name]}))
            assert [one.position for one in store.read_all(query, raw=True)] == positions, (part, name)


def check_batches(events: list[RecordedEvent], *, side_by_side: bool) -> None:
    """Of each batch (its events say how many there are) all events are there, in one place where the engine says so."""
    places: dict[str, list[int]] = defaultdict(list)
    sizes: dict[str, int] = {}
    for index, one in enumerate(events):
        if isinstance(one.event.data, dict) and "batch" in one.event.data:
            places[one.event.data["batch"]].append(index)
            sizes[one.event.data["batch"]] = one.event.data["of"]
    for batch, found in places.items():
        assert len(found) == sizes[batch], batch
        assert not side_by_side or found[-1] - found[0] == len(found) - 1, batch


def check_all(url: str) -> list[RecordedEvent]:
    """Everything above; return all events."""
    with sacho.connect(url) as store:
        events = check_log(store)
        check_names(store, events)
    check_batches(events, side_by_side=url.startswith("sqlite"))
    check_sound(url)
    return events

"""Every statement that a read or a condition runs walks along an index: nothing scans the log, nothing sorts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from itertools import accumulate
from random import Random

import pytest

from sacho.events import Query, QueryItem, category_of
from sacho.storage.sqlite import SqliteStorage
from sacho.testing.conformance.building import append, condition, filled, listed, noted, of_stream

HIDDEN = "seat:hidden"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStorage]:
    """A log whose events have their marks, with a rare tag, and a few events behind the marks."""
    opened = SqliteStorage(tmp_path_factory.mktemp("plans") / "log.db")
    append(opened, "rare-1", noted("Rare", tags=[HIDDEN], correlation_id="c-1"))
    filled(opened, Random(1), 1_500)
    yield opened
    opened.close()


def statements(storage: SqliteStorage, read: Callable[[], object]) -> list[str]:
    """Return the statements that a read runs, with their values in place."""
    found: list[str] = []
    connections = [storage._writer.connection, storage._readers.run(lambda connection: connection)]
    for connection in connections:
        connection.set_trace_callback(found.append)
    try:
        read()
    finally:
        for connection in connections:
            connection.set_trace_callback(None)
    return [text for text in found if text.lstrip().upper().startswith(("SELECT", "WITH"))]


def plan(storage: SqliteStorage, statement: str) -> list[str]:
    connection = sqlite3.connect(storage.path)
    try:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    finally:
        connection.close()


def plans(storage: SqliteStorage, read: Callable[[], object]) -> list[str]:
    """Return the steps of all plans of a read; fail if one of them looks through all events or sorts."""
    found = statements(storage, read)
    assert found, "the read ran no statement"
    steps = [step for statement in found for step in plan(storage, statement)]
    assert [step for step in steps if is_a_search_of_all(step)] == []
    return steps


def is_a_search_of_all(step: str) -> bool:
    """Tell whether a step looks through all events or all marks, or sorts what it has found."""
    scanned = step.startswith("SCAN ") and step.split()[1] in {
        "e",
        "events",
        "marks",
        "i",
        "event_ids",
        "s",
        "event_streams",
    }
    return scanned or "TEMP B-TREE" in step


def by(storage: SqliteStorage, *items: QueryItem, backwards: bool = False) -> Callable[[], object]:
    head = storage.head()
    return lambda: list(storage.read_all(Query(*items), after=0, to=head, limit=None, backwards=backwards))


def along_marks(steps: list[str]) -> bool:
    return any("SEARCH marks USING PRIMARY KEY (mark=? AND last>? AND last<?)" in step for step in steps)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    "item",
    [
        QueryItem(types=["Rare"]),
        QueryItem(types=["Rare", "Opened"]),
        QueryItem(tags=[HIDDEN]),
        QueryItem(tags=[HIDDEN, "seat:1"]),
        QueryItem(categories=["rare"]),
        QueryItem(types=["Opened", "Closed"], tags=[HIDDEN]),
        QueryItem(types=["Opened"], tags=["seat:1", "seat:2"], categories=["rare", "seats"]),
    ],
    ids=["type", "types", "tag", "tags", "category", "type and tag", "all three"],
)
def test_a_query_walks_along_marks(storage: SqliteStorage, item: QueryItem, backwards: bool) -> None:
    steps = plans(storage, by(storage, item, backwards=backwards))
    assert along_marks(steps)
    assert any("USING INTEGER PRIMARY KEY (rowid" in step for step in steps)


def test_several_items_walk_along_marks_together(storage: SqliteStorage) -> None:
    items = [QueryItem(tags=[HIDDEN]), QueryItem(types=["Rare"]), QueryItem(categories=["orders"])]
    assert along_marks(plans(storage, by(storage, *items)))


def test_the_whole_log_is_read_along_positions(storage: SqliteStorage) -> None:
    assert "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plans(storage, by(storage))


def test_a_stream_is_read_along_its_versions(storage: SqliteStorage) -> None:
    for backwards in (False, True):
        steps = plans(storage, lambda backwards=backwards: of_stream(storage, "seats-1", backwards=backwards))  # type: ignore[misc]
        assert "SEARCH event_streams USING PRIMARY KEY (stream=? AND version>? AND version<?)" in steps
        assert "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in steps


def test_a_correlation_id_is_read_along_its_index(storage: SqliteStorage) -> None:
    steps = plans(storage, lambda: list(storage.correlated("c-1", after=0, to=storage.head())))
    assert "SEARCH c USING PRIMARY KEY (correlation_id=? AND position>? AND position<?)" in steps


def test_an_event_is_found_by_the_index_of_ids(storage: SqliteStorage) -> None:
    steps = plans(storage, lambda: storage.find([noted().id, noted().id]))
    assert "SEARCH i USING PRIMARY KEY (id=?)" in steps


@pytest.mark.parametrize("category", [None, "seats", "never"])
def test_streams_are_listed_by_jumps_along_their_index(storage: SqliteStorage, category: str | None) -> None:
    steps = plans(storage, lambda: listed(storage, category))
    assert "SEARCH event_streams USING PRIMARY KEY (stream>? AND stream<?)" in steps


def test_categories_are_listed_by_jumps_along_the_marks(storage: SqliteStorage) -> None:
    steps = plans(storage, storage.categories)
    assert "SEARCH marks USING PRIMARY KEY (mark>? AND mark<?)" in steps


def test_the_head_is_the_end_of_the_table(storage: SqliteStorage) -> None:
    assert plans(storage, storage.head) == ["SEARCH event_rows"]


@pytest.mark.parametrize(
    "item",
    [QueryItem(types=["Never"]), QueryItem(tags=["seat:never"]), QueryItem(categories=["never"]),
     QueryItem(types=["Rare"], tags=["seat:1"])],
    ids=["type", "tag", "category", "type and tag"],
)  # fmt: skip
def test_a_condition_walks_along_marks_and_reads_no_event(storage: SqliteStorage, item: QueryItem) -> None:
    found: list[str] = []
    connection = storage._writer.connection
    connection.set_trace_callback(found.append)
    try:
        append(storage, None, noted(), condition=condition(item))
    finally:
        connection.set_trace_callback(None)
    reads = [text for text in found if text.lstrip().upper().startswith(("SELECT", "WITH"))]
    steps = [step for statement in reads for step in plan(storage, statement)]
    assert any("marks" in text for text in reads)
    assert [step for step in steps if is_a_search_of_all(step)] == []


def test_the_index_tells_of_all_events_up_to_where_it_says(storage: SqliteStorage) -> None:
    connection = sqlite3.connect(storage.path)
    try:
        (indexed,) = connection.execute("SELECT indexed_to FROM log").fetchone()
        rows = connection.execute("SELECT position, type, stream, tags FROM events WHERE position <= ?", (indexed,))
        wanted = {
            (mark, position)
            for position, type, stream, tags in rows.fetchall()
            for mark in (
                f"type:{type}",
                *([] if stream is None else [f"category:{category_of(stream)}"]),
                *(f"tag:{tag}" for tag in json.loads(tags or "[]")),
            )
        }
        steps = connection.execute("SELECT mark, positions FROM marks")
        assert {(mark, position) for mark, text in steps for position in accumulate(json.loads(text))} == wanted
        assert len(wanted) > 1_000
        for table, columns in (
            ("event_ids", "id, position"),
            ("event_correlations", "correlation_id, position"),
        ):
            told = connection.execute(f"SELECT {columns} FROM {table}")
            there = connection.execute(f"SELECT {columns} FROM events WHERE position <= ?", (indexed,))
            assert set(told) == {row for row in there if None not in row}
        lists = connection.execute("SELECT stream, version, last, positions FROM event_streams").fetchall()
        told_streams = set()
        for stream, version, last, steps in lists:
            positions = list(accumulate(json.loads(steps)))
            assert positions[-1] == last
            told_streams |= {(stream, version - back, position) for back, position in enumerate(reversed(positions))}
        in_streams = "SELECT stream, version, position FROM events WHERE position <= ? AND stream IS NOT NULL"
        assert told_streams == set(connection.execute(in_streams, (indexed,)))
    finally:
        connection.close()

"""What is asked of the log is found by an index, whatever the server's statistics say; and the head is told exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import sacho
from sacho import EventData, EventStore, Query, QueryItem, RawEvent
from sacho.storage.postgres.calls import query_text
from sacho.storage.postgres.connecting import prepare_session
from sacho.storage.postgres.reading import CATEGORIES
from sacho.storage.postgres.reading import STREAMS as STREAMS_STATEMENT

EVENTS = 20_000
STREAMS = 100
FEW_BUFFERS = 80
"""How many pages a selective question may touch; the whole log has over a thousand."""


@pytest.fixture(scope="module")
def log(postgres_server_url: str) -> Iterator[tuple[EventStore, str]]:
    """A log of two frequent types and one rare, of tags for all, for one stream, and for one event; never analysed."""
    schema = "plans_of_a_long_log"
    with psycopg.connect(postgres_server_url, autocommit=True) as admin:
        with sacho.connect(f"{postgres_server_url}?schema={schema}") as store:
            admin.execute(f"ALTER TABLE {schema}.event_rows SET (autovacuum_enabled = false)")
            for stream in range(STREAMS):
                some = [
                    EventData(
                        RawEvent(f"T{number % 2}", {"pad": "x" * 200}),
                        tags=["all:1", f"stream:{stream}", f"n:{number}"],
                    )
                    for number in range(EVENTS // STREAMS)
                ]
                store.append(f"c{stream % 2}-{stream}", some)
            rare = EventData(RawEvent("Rare", None), tags=["all:1", "rare:1"])
            store.append("c0-1", [rare])
            yield store, schema
        admin.execute(f"DROP SCHEMA {schema} CASCADE")


def buffers(admin: psycopg.Connection, statement: str, values: tuple[Any, ...]) -> int:
    """Return how many pages a statement touches, within functions too."""
    admin.execute(statement, values)  # plans that are kept are made now
    row = admin.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}", values).fetchone()
    assert row is not None
    plan = (json.loads(row[0]) if isinstance(row[0], str) else row[0])[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("is_analysed", [False, True])
@pytest.mark.parametrize(
    "item",
    [
        QueryItem(types=["Rare"]),
        QueryItem(types=["Never"]),
        QueryItem(types=["Never", "Rare"]),
        QueryItem(tags=["rare:1"]),
        QueryItem(tags=["all:1", "rare:1"]),
        QueryItem(tags=["all:1", "never:1"]),
        QueryItem(categories=["never"]),
        QueryItem(types=["Rare"], categories=["c0", "c1"]),
        QueryItem(types=["T0", "T1"], tags=["rare:1"]),
        QueryItem(types=["Rare"], tags=["all:1"], categories=["c0"]),
    ],
    ids=repr,
)
def test_a_selective_query_touches_few_pages(
    log: tuple[EventStore, str], postgres_server_url: str, item: QueryItem, is_analysed: bool, backwards: bool
) -> None:
    """Seen to fail with `type = $1 … ORDER BY position`, which looks through the log for a type that is not there."""
    _, schema = log
    with psycopg.connect(postgres_server_url, autocommit=True) as admin:
        if is_analysed:
            admin.execute(f"ANALYZE {schema}.event_rows, {schema}.event_tags")
        statement = f"SELECT {schema}.matches(%s, 0, %s, 2000, %s)"
        assert buffers(admin, statement, (query_text(Query(item)), EVENTS * 2, backwards)) < FEW_BUFFERS


def test_a_frequent_query_is_answered_from_where_it_begins(
    log: tuple[EventStore, str], postgres_server_url: str
) -> None:
    """The first of many costs no more than the last."""
    _, schema = log
    with psycopg.connect(postgres_server_url, autocommit=True) as admin:
        for item in (QueryItem(types=["T0"]), QueryItem(tags=["all:1"]), QueryItem(types=["T0"], tags=["all:1"])):
            for after in (0, EVENTS - 50):
                statement = f"SELECT {schema}.matches(%s, %s, %s, 1, false)"
                assert buffers(admin, statement, (query_text(Query(item)), after, EVENTS * 2)) < FEW_BUFFERS


def test_the_head_touches_few_pages_however_long_the_log(log: tuple[EventStore, str], postgres_server_url: str) -> None:
    store, schema = log
    with psycopg.connect(postgres_server_url, autocommit=True) as admin:
        assert buffers(admin, f"SELECT * FROM {schema}.head()", ()) < FEW_BUFFERS
        with psycopg.connect(postgres_server_url) as slow:
            store.joined(slow).append("slow-1", [RawEvent("Slow", None)])
            for number in range(3_000):
                store.submit(f"fast-{number % 7}", [RawEvent("Fast", None)])
            store.append("fast-8", [RawEvent("Fast", None)])
            assert buffers(admin, f"SELECT * FROM {schema}.head()", ()) < FEW_BUFFERS
            slow.rollback()


def test_streams_and_categories_are_listed_without_passing_their_events(
    log: tuple[EventStore, str], postgres_server_url: str
) -> None:
    store, schema = log
    assert [info.stream for info in store.streams("c0")] == sorted(
        ["c0-1", *(f"c0-{number}" for number in range(0, STREAMS, 2))]
    )
    with psycopg.connect(postgres_server_url, autocommit=True) as admin:
        prepare_session(admin)
        streams = STREAMS_STATEMENT.format(schema=schema, below="true") % {"after": "''", "first": "''", "most": 2_000}
        assert buffers(admin, streams, ()) < 15 * STREAMS
        assert buffers(admin, CATEGORIES.format(schema=schema), ()) < FEW_BUFFERS


def test_no_head_lies_within_an_append(postgres_url: str, postgres_server_url: str) -> None:
    """Positions of two appends are given out in turn; whatever commits first, readers see each whole or not at all."""
    schema = postgres_url.rpartition("schema=")[2]
    with sacho.connect(postgres_url) as store:
        store.append("a-1", [RawEvent("A", n) for n in range(3)])
        with psycopg.connect(postgres_server_url, autocommit=True) as admin:
            columns = "type, schema_version, data, recorded_at"
            rows = [(5, "b-1", 1, None), (7, "b-1", 2, None), (9, "b-1", 3, 5), (6, "c-1", 1, None), (8, "c-1", 2, 6)]
            with admin.transaction():
                admin.execute("SET LOCAL sacho.appending = 'yes'")
                for position, stream, version, first in rows:
                    admin.execute(
                        f"INSERT INTO {schema}.event_rows (position, stream, version, append_from, id, {columns}) "
                        "VALUES (%s, %s, %s, %s, gen_random_uuid(), 'T', 1, 'null', 0)",
                        (position, stream, version, first),
                    )
            for last in (3, 4, 5, 6, 7, 8, 9):
                admin.execute(f"SELECT setval('{schema}.positions', {last})")
                expected = 9 if last == 9 else 3
                assert store.head() == expected


@pytest.mark.parametrize("start", [2**31 - 3, 2**32 - 3, 5 * 2**32 - 3, 2**62])
def test_the_head_is_right_where_the_low_bits_of_positions_turn_over(
    postgres_url: str, postgres_server_url: str, start: int
) -> None:
    """Appends in flight are registered by the low 32 bits of a position."""
    schema = postgres_url.rpartition("schema=")[2]
    with sacho.connect(postgres_url) as store, psycopg.connect(postgres_server_url, autocommit=True) as admin:
        store.append("a-1", [RawEvent("A", None)])
        admin.execute(f"SELECT setval('{schema}.positions', {start})")
        for _ in range(4):
            before = store.head()
            with psycopg.connect(postgres_server_url) as slow:
                joined = store.joined(slow).append("slow-1", [RawEvent("Slow", None)])
                for _ in range(2):
                    store.append("a-1", [RawEvent("A", None)])
                assert store.head() == before
            assert store.head() == joined.position + 2

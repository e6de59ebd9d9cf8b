"""The floors on PostgreSQL: what psycopg does with prepared statements when nobody asks for events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID, uuid4

import psycopg

from benchmarks.domain import Reservation, going_round, reservation
from benchmarks.job import Job
from benchmarks.postgres import check_durability
from benchmarks.timing import seconds

MAKE_ROWS = "CREATE TABLE rows (position bigserial PRIMARY KEY, data text NOT NULL)"
INSERT_ROW = "INSERT INTO rows (data) VALUES (%s)"
MAKE_TAGGED = """
CREATE SEQUENCE positions;
CREATE TABLE tagged (position bigint PRIMARY KEY, id uuid NOT NULL UNIQUE, data text NOT NULL);
CREATE TABLE tags (tag text, position bigint, PRIMARY KEY (tag, position));
"""
INSERT_TAGGED = """
WITH given AS (
    SELECT nextval('positions') AS position, id, data, tag FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS g (id, data, tag)
), inserted AS (
    INSERT INTO tagged SELECT position, id, data FROM given
)
INSERT INTO tags SELECT tag, position FROM given
"""
"""A hundred rows, each with its tag, in one statement and so in one transaction."""

Connection = psycopg.Connection[tuple[int]]
Hundred = tuple[list[UUID], list[str], list[str]]


def rows(job: Job) -> float:
    """Rows a second: one row of 200 bytes per commit, by one thread. No index but the key's, no id, no check."""
    count = job.count(4_000, 200)
    data = _json(reservation(0, 0))
    with _connected(job) as connection, connection.cursor() as cursor:
        cursor.execute(MAKE_ROWS)

        def insert(rows: int) -> None:
            for _ in range(rows):
                cursor.execute(INSERT_ROW, (data,), prepare=True)

        insert(100)
        return count / seconds(lambda: insert(count))


def tagged_hundreds(job: Job) -> float:
    """Rows a second: 100 rows per commit, each with a unique id and one tag in a table of its own, both indexed."""
    commits = job.count(200, 10)
    with _connected(job) as connection:
        connection.execute(MAKE_TAGGED)
        _insert_hundreds(connection, _hundreds(50))
        wanted = _hundreds(commits)
        return 100 * commits / seconds(lambda: _insert_hundreds(connection, wanted))


def _connected(job: Job) -> Connection:
    connection: Connection = psycopg.connect(job.database, autocommit=True)
    check_durability(connection)
    return connection


def _insert_hundreds(connection: Connection, wanted: Sequence[Hundred]) -> None:
    with connection.cursor() as cursor:
        for hundred in wanted:
            cursor.execute(INSERT_TAGGED, hundred, prepare=True)


def _hundreds(commits: int) -> list[Hundred]:
    return [
        ([uuid4() for _ in some], [_json(one) for one in some], [f"conference:{one.conference_id}" for one in some])
        for some in going_round(commits, 100)
    ]


def _json(fields: Reservation) -> str:
    return json.dumps(fields._asdict(), separators=(",", ":"))

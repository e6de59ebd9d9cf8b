"""The floors: what a file and the sqlite3 module do when nobody asks for events. No library is below them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from benchmarks.domain import reservation
from benchmarks.job import Job
from benchmarks.machine import sync
from benchmarks.timing import seconds

INSERT = "INSERT INTO rows (data) VALUES (?)"
WARM_UP = 25_000
"""How many rows in one commit make the WAL as long as it gets, so that no timed commit makes the file longer."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open a SQLite file with the settings that all sides have: WAL, synchronous=FULL, the rest as it comes."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def sqlite_rows(job: Job) -> float:
    """Rows a second: one row of 200 bytes per commit, by one thread. No index, no id, no encoding, no check."""
    count = job.count(4_000, 200)
    connection = open_database(job.file("rows.db"))
    connection.execute("CREATE TABLE rows (position INTEGER PRIMARY KEY, data TEXT NOT NULL)")
    data = json.dumps(reservation(0, 0)._asdict(), separators=(",", ":"))

    connection.execute("BEGIN")
    connection.executemany(INSERT, [(data,)] * WARM_UP)
    connection.execute("COMMIT")

    def insert(rows: int) -> None:
        for _ in range(rows):
            connection.execute(INSERT, (data,))

    insert(100)
    took = seconds(lambda: insert(count))
    connection.close()
    return count / took


def synced_lines(job: Job) -> float:
    """Lines a second: 200 bytes appended to a file, then fdatasync."""
    count = job.count(4_000, 200)
    data = json.dumps(reservation(0, 0)._asdict(), separators=(",", ":")).encode()
    with job.file("lines").open("ab", buffering=0) as file:

        def append(lines: int) -> None:
            for _ in range(lines):
                file.write(data)
                sync(file.fileno())

        append(100)
        return count / seconds(lambda: append(count))

"""Where the `eventsourcing` library keeps its events: files, or on PostgreSQL databases; and that it keeps them durably.

Its SQLite connections come in WAL mode with synchronous=FULL; PostgreSQL has fsync and synchronous_commit on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from eventsourcing.postgres import PostgresApplicationRecorder
from eventsourcing.sqlite import SQLiteApplicationRecorder
from psycopg.conninfo import conninfo_to_dict

from benchmarks.job import Job
from benchmarks.postgres import check_durability as check_postgres

Place = dict[str, str]
"""The library's settings, as in its environment variables, that say where events are."""


def fresh(job: Job) -> Place:
    """Return this measurement's own place, where nothing is yet."""
    return _database(job.database) if job.database else _file(job.file("es.db"))


def prepared(job: Job, name: str) -> Place:
    """Return the place of this name that all rounds share."""
    if not job.prepared_database:
        return _file(job.prepared / f"{name}-eventsourcing.db")
    schema = f"{name}_eventsourcing"
    with psycopg.connect(job.prepared_database) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    return {**_database(job.prepared_database), "POSTGRES_SCHEMA": schema}


def for_reading(job: Job, name: str) -> Place:
    """Return a prepared place to be read: a copy of its file, or in PostgreSQL, where reading leaves nothing, itself."""
    return prepared(job, name) if job.prepared_database else _file(job.copy_of(f"{name}-eventsourcing.db"))


def check_durability(recorder: Any) -> None:
    """Raise an error if what the recorder saves is not on the disk when it returns."""
    if isinstance(recorder, PostgresApplicationRecorder):
        with recorder.datastore.get_connection() as connection:
            check_postgres(connection)
        return
    assert isinstance(recorder, SQLiteApplicationRecorder)
    with recorder.datastore.transaction(commit=False) as cursor:
        cursor.execute("PRAGMA journal_mode")
        mode = cursor.fetchone()[0]
        cursor.execute("PRAGMA synchronous")
        synchronous = cursor.fetchone()[0]
    if (mode, synchronous) != ("wal", 2):
        raise AssertionError(f"eventsourcing is not as durable: journal_mode={mode}, synchronous={synchronous}")


def _file(path: Path) -> Place:
    return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}


def _database(url: str) -> Place:
    """Return the settings for a database; the library pools 5 connections, and up to 15 where they are asked for."""
    parts = conninfo_to_dict(url)
    names = {"DBNAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        **{f"POSTGRES_{name}": str(parts[part]) for name, part in names.items() if part in parts},
    }

"""The PostgreSQL of a run: one server below the run's folder, on which each measurement has a database of its own.

Durable, and otherwise as it comes. SACHO_TEST_POSTGRES_URL may name another one, whose user may create databases.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from servers.postgres import GIVEN_URL, running_server

DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


@contextmanager
def server_of_run(directory: Path) -> Iterator[str]:
    """Yield the URL of a server that was started below the run's folder, or of the one that is named."""
    if GIVEN_URL:
        yield GIVEN_URL
        return
    # as root, the server runs as another user, who must come through the folder
    directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    with running_server(directory) as server:
        yield server.url()


def version_of(url: str) -> str:
    """Return the server's version, in words for people; raise an error if it is not durable."""
    with psycopg.connect(url, autocommit=True) as connection:
        check_durability(connection)
        return f"PostgreSQL {connection.info.parameter_status('server_version')}"


def check_durability(connection: psycopg.Connection[Any]) -> None:
    """Raise an error if a commit of this connection is not on the disk before it is told."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        found = {name: cursor.execute(f"SHOW {name}").fetchone() for name in DURABLE}
    if set(found.values()) != {("on",)}:
        raise AssertionError(f"not as durable as it must be: {found}")

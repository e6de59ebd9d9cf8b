"""The PostgreSQL of a run: one server below the run's folder, with a database for each measurement.

Durable, and otherwise as it comes. SACHO_TEST_POSTGRES_URL may name another one, whose user may create databases.
"""

from __future__ import annotations

import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import tuple_row

from servers.postgres import GIVEN_URL, running_server

DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


class Databases:
    """Makes databases on a server, each for a time."""

    def __init__(self, server: str) -> None:
        self._server = server

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """Yield the URL of an empty database; drop it at the end."""
        name = f"sacho_bench_{secrets.token_hex(6)}"
        self._execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(self._server)._replace(path=f"/{name}").geturl()
        finally:
            self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def describe(self) -> str:
        """Return the server's version, in words for people; raise an error if it is not durable."""
        with psycopg.connect(self._server, autocommit=True) as connection:
            check_durability(connection)
            return f"PostgreSQL {connection.info.parameter_status('server_version')}"

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def databases(directory: Path) -> Iterator[Databases]:
    """Start a server below the run's folder, or take the one that is named."""
    if GIVEN_URL:
        yield Databases(GIVEN_URL)
        return
    # as root, the server runs as another user, who must come through the folder
    directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    with running_server(directory) as server:
        yield Databases(server.url())


def check_durability(connection: psycopg.Connection[Any]) -> None:
    """Raise an error if a commit of this connection is not on the disk before it is told."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        found = {name: cursor.execute(f"SHOW {name}").fetchone() for name in DURABLE}
    if set(found.values()) != {("on",)}:
        raise AssertionError(f"not as durable as it must be: {found}")

"""The PostgreSQL of the tests: settings under which they are quick, and logs in schemas of their own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from servers import postgres
from servers.postgres import GIVEN_URL, PostgresServer

SETTINGS = {"max_connections": "200", "deadlock_timeout": "200ms", "autovacuum_naptime": "10s"}


def given_or_started() -> Iterator[str]:
    """Yield the URL of a server: the one that is named, or one that runs until the iterator is closed."""
    if GIVEN_URL:
        yield GIVEN_URL
        return
    with running_server() as server:
        yield server.url()


@contextmanager
def running_server(**settings: str) -> Iterator[PostgresServer]:
    """Start a server of one's own, to be stopped and killed at will."""
    with postgres.running_server(settings={**SETTINGS, **settings}) as server:
        yield server


@contextmanager
def running_standby(primary: PostgresServer, **settings: str) -> Iterator[PostgresServer]:
    """Start a server that follows another one."""
    with postgres.running_standby(primary, settings={**SETTINGS, **settings}) as server:
        yield server


def own_server_or_skip() -> None:
    """Leave a test out, and say so, where the server is a given one that must not be stopped."""
    if GIVEN_URL:
        pytest.skip("SACHO_TEST_POSTGRES_URL names a server, which is not stopped by tests")


@contextmanager
def fresh_schema(url: str) -> Iterator[str]:
    """Yield the URL of a log that is not there yet; drop it at the end."""
    schema = f"t_{secrets.token_hex(6)}"
    try:
        yield f"{url}{'&' if '?' in url else '?'}schema={schema}"
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def without_schema(url: str) -> tuple[str, str]:
    """Return what libpq is told of a log's URL, and the log's schema."""
    server, _, options = url.partition("?")
    named = dict(option.split("=", 1) for option in options.split("&"))
    schema = named.pop("schema")
    for own in ("durability", "timeout"):
        named.pop(own, None)
    return f"{server}{'?' * bool(named)}{'&'.join(map('='.join, named.items()))}", schema

"""A store on PostgreSQL, and a connection beside it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

import sacho
from sacho import EventStore


@pytest.fixture
def store(postgres_url: str) -> Iterator[EventStore]:
    """A store on a fresh log."""
    with sacho.connect(postgres_url) as store:
        yield store


@pytest.fixture
def admin(postgres_server_url: str) -> Iterator[psycopg.Connection]:
    """A superuser's connection to the log's database."""
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        yield connection

"""A store of each engine for the tests of the write side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sacho
from sacho import EventStore
from tests.deciding.accounts import REGISTRY


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'accounts.db'}"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, file_url: str) -> Iterator[EventStore]:
    """An empty store."""
    url = "memory://" if request.param == "memory" else file_url
    with sacho.connect(url, registry=REGISTRY) as opened:
        yield opened

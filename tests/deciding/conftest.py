"""A store of each engine for the tests of the write side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sacho
from sacho import EventStore
from tests.conftest import ENGINES
from tests.deciding.accounts import REGISTRY


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'accounts.db'}"


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> Iterator[EventStore]:
    """An empty store."""
    with sacho.connect(url_of(request.param), registry=REGISTRY) as opened:
        yield opened

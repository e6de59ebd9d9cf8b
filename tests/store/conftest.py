"""A store of each engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sacho
from sacho import EventStore
from tests.store.seats import REGISTRY


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Names an empty log."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture
def store(url: str) -> Iterator[EventStore]:
    """An empty store."""
    with sacho.connect(url, registry=REGISTRY) as opened:
        yield opened

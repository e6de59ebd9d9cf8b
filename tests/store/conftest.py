"""A store of each engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import sacho
from sacho import EventStore
from tests.conftest import ENGINES
from tests.store.seats import REGISTRY


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> str:
    """Names an empty log."""
    return url_of(request.param)


@pytest.fixture
def store(url: str) -> Iterator[EventStore]:
    """An empty store."""
    with sacho.connect(url, registry=REGISTRY) as opened:
        yield opened

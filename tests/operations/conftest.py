"""Logs of every engine, in all pairs of source and target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TypeAlias

import pytest

import sacho
from sacho import EventStore
from tests.conftest import ENGINES
from tests.postgres_server import fresh_schema

NewUrl: TypeAlias = Callable[[str], str]
Opened: TypeAlias = Callable[[str], EventStore]


@pytest.fixture
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewUrl]:
    """Names an empty log of an engine, another one at each call."""
    numbers = count(1)
    with ExitStack() as stack:

        def name(engine: str) -> str:
            if engine == "postgres":
                return stack.enter_context(fresh_schema(request.getfixturevalue("postgres_server_url")))
            return "memory://" if engine == "memory" else f"sqlite:///{tmp_path}/{next(numbers)}.db"

        yield name


@pytest.fixture
def opened(new_url: NewUrl) -> Iterator[Opened]:
    """Opens an empty log of an engine; all are closed at the test's end."""
    with ExitStack() as stack:
        yield lambda engine: stack.enter_context(sacho.connect(new_url(engine)))


@pytest.fixture(params=ENGINES)
def source(request: pytest.FixtureRequest, opened: Opened) -> EventStore:
    return opened(request.param)


@pytest.fixture(params=ENGINES)
def target(request: pytest.FixtureRequest, opened: Opened) -> EventStore:
    return opened(request.param)

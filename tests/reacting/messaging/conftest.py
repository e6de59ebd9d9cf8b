"""A stream of its own for each test; and a NATS server for those that end it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

import sacho
from servers.nats import NatsServer, running_nats
from tests.reacting.conftest import Place
from tests.reacting.messaging.broker import make_stream


@pytest.fixture
def file_place(tmp_path: Path) -> Iterator[Place]:
    """A log in a file, with the views beside it: for what hangs on the other side and on no engine."""
    with sacho.connect(f"sqlite:///{tmp_path / 'log.db'}") as store:
        yield Place(store, None)


@pytest.fixture
def own_nats() -> Iterator[NatsServer]:
    """A server to be killed and started again."""
    with running_nats() as server:
        yield server


@pytest.fixture
def stream(nats_url: str) -> str:
    """The name of an empty stream, which takes all subjects below it."""
    name = f"t{secrets.token_hex(6)}"
    make_stream(nats_url, name)
    return name

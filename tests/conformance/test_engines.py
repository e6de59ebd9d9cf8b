"""Every engine passes the conformance suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sacho.storage.memory import MemoryStorage
from sacho.storage.port import Storage
from sacho.storage.sqlite import SqliteStorage, remembering
from sacho.store.connecting import StoreURL, open_storage
from sacho.testing.conformance import StorageConformance


@pytest.fixture(params=["memory", "sqlite", "sqlite, indexed often", "postgres"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "sqlite, indexed often":
        monkeypatch.setattr(remembering, "INDEX_EVERY", 3)
    return str(request.param)


@pytest.fixture
def opened(request: pytest.FixtureRequest, engine: str) -> Iterator[list[Storage]]:
    """What a test has opened, closed at its end."""
    if engine == "postgres":
        request.getfixturevalue("postgres_url")  # first, so that it outlives what is opened
    engines: list[Storage] = []
    yield engines
    for storage in engines:
        storage.close()


class TestEngines(StorageConformance):
    @pytest.fixture
    def make(self, engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], Storage]:
        """Open the log of this test."""
        if engine == "memory":
            return MemoryStorage
        if engine == "postgres":
            return lambda: open_storage(StoreURL.parse(request.getfixturevalue("postgres_url")))
        return lambda: SqliteStorage(tmp_path / "log.db")

    @pytest.fixture
    def storage(self, make: Callable[[], Storage], opened: list[Storage]) -> Storage:
        opened.append(make())
        return opened[0]

    @pytest.fixture
    def reopen(self, engine: str, make: Callable[[], Storage], opened: list[Storage]) -> Callable[[], Storage] | None:
        def another() -> Storage:
            opened.append(make())
            return opened[-1]

        return None if engine == "memory" else another

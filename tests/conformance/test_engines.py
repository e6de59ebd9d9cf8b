"""Every engine passes the conformance suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sacho.storage.memory import MemoryStorage
from sacho.storage.port import Storage
from sacho.storage.sqlite import SqliteStorage, remembering
from sacho.testing.conformance import StorageConformance


@pytest.fixture(params=["memory", "sqlite", "sqlite, indexed often"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "sqlite, indexed often":
        monkeypatch.setattr(remembering, "INDEX_EVERY", 3)
    return str(request.param)


@pytest.fixture
def opened() -> Iterator[list[Storage]]:
    """What a test has opened, closed at its end."""
    engines: list[Storage] = []
    yield engines
    for storage in engines:
        storage.close()


class TestEngines(StorageConformance):
    @pytest.fixture
    def storage(self, engine: str, opened: list[Storage], tmp_path: Path) -> Storage:
        opened.append(MemoryStorage() if engine == "memory" else SqliteStorage(tmp_path / "log.db"))
        return opened[0]

    @pytest.fixture
    def reopen(self, engine: str, opened: list[Storage], tmp_path: Path) -> Callable[[], Storage] | None:
        def another() -> Storage:
            opened.append(SqliteStorage(tmp_path / "log.db"))
            return opened[-1]

        return None if engine == "memory" else another

"""A log of each engine with views beside it, over which a test opens one application after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import sacho
from sacho import EventStore
from sacho.reacting import Application, Consumer
from tests.conftest import ENGINES
from tests.reacting.domain import BROKEN

SECONDS = 1.0
"""How long a lease holds; the runner looks around four times as often."""


class Place:
    """A log and the database of its views. They stay while applications come and go."""

    def __init__(self, store: EventStore, views: str | None) -> None:
        self.store = store
        self.views = views

    def application(self, *consumers: Consumer | type[Consumer]) -> Application:
        """Return an application that is not run."""
        return Application(self.store, consumers=consumers, views=self.views)

    @contextmanager
    def running(self, *consumers: Consumer | type[Consumer], lease_seconds: float = SECONDS) -> Iterator[Application]:
        """Give an application that is run for the length of the block."""
        with self.application(*consumers) as app, app.running(lease_seconds=lease_seconds):
            yield app

    def run(self, *consumers: Consumer | type[Consumer]) -> None:
        """Start an application, let it come to the log's end, and stop it."""
        with self.application(*consumers) as app:
            app.run(once=True)


@pytest.fixture(params=[engine for engine in ENGINES if engine != "memory"])
def place(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> Iterator[Place]:
    """An empty log, with the views beside it. (Views of a log in memory are SQLite's, too: `test_views` has those.)"""
    with sacho.connect(url_of(request.param)) as store:
        yield Place(store, None)


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Place]:
    """A log in a SQLite file, and its views in another one."""
    with sacho.connect(f"sqlite:///{tmp_path / 'log.db'}") as store:
        yield Place(store, f"sqlite:///{tmp_path / 'views.db'}")


@pytest.fixture(autouse=True)
def nobody_is_broken() -> Iterator[None]:
    BROKEN.clear()
    yield
    BROKEN.clear()

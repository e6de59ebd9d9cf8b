"""A shop over a log of each engine, with a clock in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

import sacho
from sacho import Event, EventStore
from sacho.reacting import Application, Consumer
from sacho.testing import ManualClock
from tests.conftest import ENGINES
from tests.reacting.processes.shop import ROUTES, Fulfilment

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Shop:
    """A log and a clock. They stay while applications come and go."""

    def __init__(self, store: EventStore, views: str | None) -> None:
        self.store = store
        self.views = views
        self.clock = ManualClock(NOW)

    def application(self, *consumers: Consumer | type[Consumer]) -> Application:
        """Return an application that is not run."""
        return Application(
            self.store, consumers=consumers or (Fulfilment,), routes=ROUTES, views=self.views, clock=self.clock
        )

    @contextmanager
    def running(self, *consumers: Consumer | type[Consumer], lease_seconds: float = 1.0) -> Iterator[Application]:
        """Give an application that is run for the length of the block."""
        with self.application(*consumers) as app, app.running(lease_seconds=lease_seconds):
            yield app

    def events(self, *types: type[Event]) -> list[Event]:
        """Return the application's own events in order, of these types or all."""
        found = [one.event for one in self.store.read_all() if not one.type.startswith("sacho.")]
        return [one for one in found if not types or isinstance(one, types)]

    def until(self, event: Event, seconds: float = 120.0) -> None:
        """Wait until an event is in the log, or fail."""
        with self.store.subscribe() as live:
            while True:
                recorded = live.next(timeout=seconds)
                assert recorded is not None, f"{event!r} did not come; there are {self.events()}"
                if recorded.event == event:
                    return


@pytest.fixture(params=ENGINES)
def shop(
    request: pytest.FixtureRequest, url_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """A shop over an empty log."""
    views = f"sqlite:///{tmp_path_factory.mktemp('views') / 'views.db'}" if request.param == "memory" else None
    with sacho.connect(url_of(request.param)) as store:
        yield Shop(store, views)

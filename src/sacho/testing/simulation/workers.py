"""Workers: what the processes of an operating system are in a simulation. Each has its own bus, caches and clock, and may die."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, cast

from sacho.deciding import CommandBus
from sacho.errors import InvalidConsumer
from sacho.reacting.taking import Commits, Surroundings, Taking

if TYPE_CHECKING:
    from sacho.deciding.chain import Authorise, Step
    from sacho.deciding.routing import Route
    from sacho.reacting.consumer import Consumer
    from sacho.testing.simulation.running import Run

_NO_COMMITS = cast("Commits", None)
"""Only projections commit by themselves, and they are not simulated."""


class Parts(NamedTuple):
    """What an application is made of, as far as it is simulated."""

    consumers: Sequence[Consumer]
    routes: Sequence[Route]
    authorise: Authorise | None
    steps: Sequence[Step]


class Worker:
    """One process of the application. What it remembers is lost when it dies."""

    def __init__(self, name: str, run: Run, parts: Parts) -> None:
        self.name = name
        self.behind = timedelta()
        """By how much its clock is behind."""
        self.is_dead = False
        self._run = run
        self._parts = parts
        self.begin()

    def begin(self) -> None:
        """Be as it is when it begins: with nothing in memory."""
        self.is_dead = False
        parts = self._parts
        self.bus = CommandBus(self._run.store, parts.routes, authorise=parts.authorise, steps=parts.steps)
        self.here = Surroundings(self._run.store, self.bus, self.clock, _no_loop)
        self._takings: dict[str, Taking] = {}

    def clock(self) -> datetime:
        """Return the present, by this worker's clock."""
        return self._run.now - self.behind

    def taking(self, consumer: Consumer) -> Taking:
        """Return what takes events in for a consumer here."""
        found = self._takings.get(consumer.name)
        if found is None:
            found = self._takings[consumer.name] = consumer.taking(_NO_COMMITS, self.here)
        return found

    def __str__(self) -> str:
        return self.name


def _no_loop() -> asyncio.AbstractEventLoop:
    raise InvalidConsumer("a consumer", "wants an event loop, and there is none in a simulation")

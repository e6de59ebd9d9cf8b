"""World: what a scenario sees of the simulation that it takes part in, and what it may do there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from sacho.deciding.envelope import Origin
from sacho.testing.simulation.calling import Actor
from sacho.testing.simulation.running import Run, consumers_of
from sacho.testing.simulation.workers import Parts

if TYPE_CHECKING:
    from sacho.deciding.chain import Authorise, Step
    from sacho.deciding.routing import Route
    from sacho.reacting.consumer import Consumer
    from sacho.store import EventStore

E = TypeVar("E")


class World:
    """One simulation, as its scenario sees it. A scenario says what the application is, and what comes from outside.

    `seed` names the simulation, `random` is the scenario's own randomness: take all of it from there. `store` is for
    reading, and for functions of the application that append by themselves.
    """

    def __init__(self, seed: int, run: Run) -> None:
        self.seed = seed
        self.random = Random(f"{seed} scenario")
        self._run = run

    @property
    def now(self) -> datetime:
        """The present in UTC. Clocks of workers may be behind it."""
        return self._run.now

    @property
    def store(self) -> EventStore:
        """The log."""
        return self._run.store

    def application(
        self,
        *,
        routes: Iterable[Route],
        consumers: Iterable[Consumer | type[Consumer]] = (),
        authorise: Authorise | None = None,
        steps: Iterable[Step] = (),
    ) -> None:
        """Say what the application is: its parts are those of `sacho.reacting.Application`. Once, before all else.

        Views (projections) are left out: they follow the log alone, and lead to nothing. Raises InvalidConsumer.
        """
        self._run.set_up(Parts(consumers_of(consumers), tuple(routes), authorise, tuple(steps)))

    def command(
        self,
        command: Any,
        *,
        after: timedelta | float = 0.0,
        at: datetime | None = None,
        id: str | None = None,
        origin: Origin = "caller",
    ) -> None:
        """Have a command handed to the bus, `after` some time (seconds, or a timedelta); with `at`, stored for that time.

        Who gives it asks again, under the same id, until there is an answer; some come once more much later. A refusal is
        an answer. Another error of the bus fails the simulation.
        """
        self._run.callers.at(self._moment(after), self._run.call_of(command, id=id, origin=origin, at=at))

    def later(self, after: timedelta | float, action: Callable[[], object]) -> None:
        """Have a function called after some time (seconds, or a timedelta): once, and never early."""
        self._run.callers.at(self._moment(after), action)

    def actor(self, actor: Actor, *, after: timedelta | float = 0.0) -> None:
        """Let somebody begin who gives commands one after the other: a generator.

            def registrant(order_id: str) -> Actor:
                outcome = yield PlaceOrder(order_id)        # raises what refuses it
                yield 60.0                                  # seconds
                yield PayOrder(order_id)

        It may also yield a function of the bus: `yield lambda bus: bus.withdraw(id)`. A refusal that it does not catch ends it.
        """
        self._run.callers.begin(actor, self._moment(after))

    def events(self, *types: type[E]) -> list[E]:
        """Return the events so far, of these classes or all, in order of the log."""
        self._run.spread()
        return [one.event for one in self._run.events if not types or isinstance(one.event, types)]

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self._run.note("{}", text)

    def _moment(self, after: timedelta | float) -> datetime:
        return self.now + (after if isinstance(after, timedelta) else timedelta(seconds=after))

"""Calling: what comes from outside. Commands, actors who give one after the other, and whatever else is to happen at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from sacho.deciding import CommandBus
from sacho.errors import CommandRefused, SachoError

if TYPE_CHECKING:
    from sacho.testing.simulation.running import Run
    from sacho.testing.simulation.workers import Worker

Actor: TypeAlias = Generator[Any, Any, None]
"""Yields commands, and gets their outcomes or has their refusals raised; functions of the bus alike; or times to wait."""

LONGEST_RETRY: Final = 30.0
"""For how many seconds a caller who got no answer waits at most before asking again."""
LONGEST_ECHO: Final = 1_200.0
"""After how many seconds a command that comes twice comes the second time at most."""


class Call(msgspec.Struct):
    """What is asked of the application's bus, by whom; `asked` counts how often."""

    what: object
    work: Callable[[CommandBus], Any]
    actor: Actor | None = None
    is_echo: bool = False


class Callers:
    """What is to come from outside, by time."""

    name = "callers"
    weight = 0.5

    def __init__(self, run: Run) -> None:
        self._run = run
        self._later: list[tuple[datetime, int, Call | Callable[[], object]]] = []
        self._now: list[Call | Callable[[], object]] = []
        self._count = 0

    def at(self, moment: datetime, what: Call | Callable[[], object]) -> None:
        """Let something happen at a time."""
        self._count += 1
        heappush(self._later, (moment, self._count, what))

    def begin(self, actor: Actor, moment: datetime) -> None:
        """Let an actor begin at a time."""
        self.at(moment, partial(self._go_on, actor, partial(next, actor)))

    def has_work(self) -> bool:
        """Tell whether something is to happen now."""
        return bool(self._now) or (bool(self._later) and self._later[0][0] <= self._run.now)

    def next_at(self) -> datetime | None:
        """Return when the next thing is to happen."""
        return self._later[0][0] if self._later else None

    def step(self, but: Worker | None = None) -> bool:
        """Let something happen, by another worker than `but`; return whether it did."""
        run = self._run
        while self._later and self._later[0][0] <= run.now:
            self._now.append(heappop(self._later)[2])
        if not self._now:
            return False
        worker = run.any_worker()
        if worker is but:
            return False
        what = self._now.pop(run.dice.randrange(len(self._now)))
        if isinstance(what, Call):
            self._ask(what, worker)
        else:
            run.outside(what)
        return True

    def restart(self, worker: Worker) -> None:
        """Who is outside does not die with a worker."""

    # --- parts ----------------------------------------------------------------------------------------

    def _ask(self, call: Call, worker: Worker) -> None:
        run = self._run
        run.counts.commands += 1
        run.note("{} is asked: {}{}", worker, call.what, " (once more)" if call.is_echo else "")
        answers: list[Any] = []
        error = run.attempt(worker, lambda: answers.append(call.work(worker.bus)))
        if worker.is_dead:
            run.restart(worker)
            self.at(run.now + timedelta(seconds=run.dice.uniform(0, LONGEST_RETRY)), call)
        elif error is not None and run.is_passing(error):
            self.at(run.now + timedelta(seconds=run.dice.uniform(0, LONGEST_RETRY)), call)
        else:
            self._answer(call, error, answers)

    def _answer(self, call: Call, error: BaseException | None, answers: list[Any]) -> None:
        run = self._run
        if isinstance(error, CommandRefused):
            run.counts.refusals += 1
            run.note("it is refused: {}", error)
        if call.is_echo:
            return
        if run.happens(run.chances.doubled):
            echo = Call(call.what, call.work, is_echo=True)
            self.at(run.now + timedelta(seconds=run.dice.uniform(0, LONGEST_ECHO) * run.dice.random()), echo)
        if call.actor is not None:
            go_on = partial(call.actor.send, *answers) if error is None else partial(call.actor.throw, error)
            run.outside(partial(self._go_on, call.actor, go_on))
        elif isinstance(error, SachoError) and not isinstance(error, CommandRefused):
            raise error

    def _go_on(self, actor: Actor, go_on: Callable[[], Any]) -> None:
        """Let an actor go on to the next thing that it wants."""
        run = self._run
        try:
            wish = go_on()
        except (StopIteration, CommandRefused):  # it has come to its end, or did not reckon with the refusal
            return
        if isinstance(wish, timedelta | int | float):
            wait = wish if isinstance(wish, timedelta) else timedelta(seconds=wish)
            self.at(run.now + wait, partial(self._go_on, actor, partial(actor.send, None)))
        elif callable(wish):
            self.at(run.now, Call(getattr(wish, "__name__", "a function of the bus"), wish, actor))
        else:
            self.at(run.now, run.call_of(wish, actor=actor))

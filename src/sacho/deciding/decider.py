"""The decider: an entity as three plain parts, without input or output.

Source: Jérémie Chassaing, "Functional Event Sourcing Decider" (2021).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")


class Decider(Generic[C, S, E]):
    """Decides by commands and evolves by events: `class Seats(Decider[Command, State, Event])`.

    `initial` is the state before the first event. States are best values: `evolve` returns a new one. It may also change
    the one it was given and return that, if `initial` is a property that makes a new one each time: an old state is
    never used again. `decide` never changes anything.
    """

    initial: S

    def decide(self, command: C, state: S) -> Iterable[E]:
        """Return or yield what happens by `command` in `state`: nothing, or events in order.

        Raise to refuse (an error derived from CommandRefused); nothing is recorded then.
        """
        raise NotImplementedError(f"{type(self).__name__} has no decide()")

    def evolve(self, state: S, event: E) -> S:
        """Return the state after `event`. Never refuses: what happened, happened."""
        raise NotImplementedError(f"{type(self).__name__} has no evolve()")

    def fold(self, state: S, events: Iterable[E]) -> S:
        """Return the state after all of `events`."""
        evolve = self.evolve
        for event in events:
            state = evolve(state, event)
        return state

    def is_reusable(self, state: S) -> bool:
        """Tell whether `state` is still what the events say after `decide` has refused: always, if states are values."""
        return True

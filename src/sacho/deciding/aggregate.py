"""Aggregates, for those who prefer objects: methods that check the rules and record events. An adapter on the decider."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sacho.deciding.decider import Decider

A = TypeVar("A", bound="Aggregate")


class Aggregate:
    """An entity as an object. Its methods decide and `record` events; `apply` alone changes its state.

    A command is any function of the aggregate, `lambda seats: seats.reserve("r1", 2)`; to take command values instead,
    override `execute`. `__init__` takes no arguments and gives the state before the first event.
    """

    _recorded: list[Any]
    _ahead: int

    def __new__(cls, *_: object, **__: object) -> Any:
        """Make the object with nothing recorded."""
        self = super().__new__(cls)
        self._recorded = []
        self._ahead = 0
        return self

    def apply(self, event: Any) -> None:
        """Change the state by `event`. Never refuses: what happened, happened."""
        raise NotImplementedError(f"{type(self).__name__} has no apply()")

    def execute(self, command: Any) -> None:
        """Carry out a command by calling one's own methods."""
        command(self)

    def record(self, event: Any) -> None:
        """Let `event` happen: it is applied at once, and appended when the command is done."""
        self.apply(event)
        self._recorded.append(event)


class AggregateDecider(Decider[Any, A, Any]):
    """Lets a CommandHandler work with an Aggregate class: `CommandHandler(store, AggregateDecider(Seats))`.

    The aggregate changes while it decides, so `evolve` passes over the events that it has applied already.
    """

    def __init__(self, make: Callable[[], A]) -> None:
        self._make = make

    @property
    def initial(self) -> A:  # type: ignore[override]  # a new object each time, since aggregates change
        """A new aggregate."""
        return self._make()

    def decide(self, command: Any, state: A) -> Iterable[Any]:
        """Carry out the command and return what was recorded."""
        state.execute(command)
        events, state._recorded = state._recorded, []
        state._ahead = len(events)
        return events

    def evolve(self, state: A, event: Any) -> A:
        """Apply the event, unless it was applied when it was recorded."""
        if state._ahead:
            state._ahead -= 1
        else:
            state.apply(event)
        return state

    def is_reusable(self, state: A) -> bool:
        """Tell whether a refused command left nothing behind in the object."""
        return not state._recorded and not state._ahead

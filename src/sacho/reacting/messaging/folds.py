"""Folds: states of streams that are remembered, so that the next event of one needs only what came since."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sacho.deciding import Decider

if TYPE_CHECKING:
    from sacho.store import EventStore

S = TypeVar("S")

MOST_REMEMBERED: Final = 1_000


class Folds:
    """States of streams as of the version that was asked for last. Used by one thread at a time."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self._known: OrderedDict[tuple[type, str], tuple[int, Any]] = OrderedDict()

    def at(self, decider: Decider[Any, S, Any], stream: str, version: int) -> S:
        """Return the state of a stream at a version, by what a decider of this class makes of it."""
        of = (type(decider), stream)
        known, state = self._known.pop(of, (0, None))
        if known == 0 or known > version:
            known, state = 0, decider.initial
        if known < version:
            state = decider.fold(state, (one.event for one in self.store.read(stream, after=known, to=version)))
        self._known[of] = (version, state)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        found: S = state
        return found

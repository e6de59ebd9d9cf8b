"""Folded states kept in memory: bounded, the least recently used go first. Never trusted without asking the log."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, NamedTuple, TypeVar

S = TypeVar("S")


class Folded(NamedTuple, Generic[S]):
    """A state with the version it was folded to, and the position of the last event in it."""

    state: S
    version: int
    position: int


class StateCache(Generic[S]):
    """States by stream id. Thread-safe. `take` removes what it returns, so a state is in one hand at a time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._states: OrderedDict[str, Folded[S]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._states)

    def take(self, stream: str) -> Folded[S] | None:
        """Remove and return the stream's state, or None."""
        with self._lock:
            return self._states.pop(stream, None)

    def put(self, stream: str, folded: Folded[S]) -> None:
        """Keep the stream's state, dropping the least recently used one if there are too many."""
        with self._lock:
            self._states[stream] = folded
            while len(self._states) > self._size:
                self._states.popitem(last=False)

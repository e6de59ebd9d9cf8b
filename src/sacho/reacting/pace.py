"""Pace: how fast a worker gets on, over about its last ten seconds; and how many events it handles before it looks up."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SECONDS: Final = 10.0
SLICE_SECONDS: Final = 0.02
"""For about how long events are handled before a worker looks up: so long a stop waits, or one handler if that takes longer."""
MOST_AT_ONCE: Final = 1_000


class Pace:
    """How many events are handled, and how many positions passed, in a second. What is long past counts less and less."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._seconds = self._events = self._positions = 0.0

    def note(self, events: int, positions: int) -> None:
        """Note what was done since the last note."""
        now = time.monotonic()
        kept = math.exp((self._at - now) / SECONDS)
        self._seconds = self._seconds * kept + now - self._at
        self._events = self._events * kept + events
        self._positions = self._positions * kept + positions
        self._at = now

    @property
    def rate(self) -> float:
        """Events handled a second."""
        return self._events / max(self._seconds, 0.001)

    @property
    def speed(self) -> float:
        """Positions passed a second, those of events that concern somebody else among them."""
        return self._positions / max(self._seconds, 0.001)


class Slices:
    """How many events to handle at once, up to `most`, so that it takes about so many seconds: learnt from those before.

    Those before may have been quick and the next ones slow, so effects that cannot be undone come one at a time.
    """

    def __init__(self, most: int = MOST_AT_ONCE, seconds: float = SLICE_SECONDS, least: int = 1) -> None:
        self.size = least
        self._most = max(least, most)
        self._seconds = seconds
        self._least = least

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Learn from how long a block takes, which handles `size` events."""
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        if took > self._seconds:
            self.size = max(self._least, self.size // 2)
        elif took < self._seconds / 4:
            self.size = min(self._most, 2 * self.size)

"""Pace: how fast a worker gets on, over about its last ten seconds."""

from __future__ import annotations

import math
import time
from typing import Final

SECONDS: Final = 10.0


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

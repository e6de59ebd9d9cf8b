"""How often and how soon a command that lost its race is decided again."""

from __future__ import annotations

from random import random

import msgspec


class Retry(msgspec.Struct, frozen=True):
    """Bounds on deciding again after a conflict. Pauses are in seconds, doubled each time, and uneven by chance.

    The first conflict is answered at once: in most cases the log only has to be read on.
    """

    attempts: int = 100
    first_pause: float = 0.001
    longest_pause: float = 0.05

    def pause(self, conflicts: int) -> float:
        """Return how long to wait after so many conflicts in a row."""
        if conflicts <= 1:
            return 0.0
        longest: float = min(self.longest_pause, self.first_pause * 2.0 ** min(conflicts - 2, 30))
        return longest * (0.5 + random() / 2)

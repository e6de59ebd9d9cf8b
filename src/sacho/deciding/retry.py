"""How often and how soon a command is tried again: one that lost its race, or met a log that did not answer."""

from __future__ import annotations

from random import random

import msgspec


class Retry(msgspec.Struct, frozen=True):
    """Bounds on trying again: how many attempts in all. Pauses are in seconds, doubled each time, and uneven by chance.

    After the first failure there is no pause: in most cases the log only has to be read on, or asked anew.
    """

    attempts: int = 100
    first_pause: float = 0.001
    longest_pause: float = 0.05

    def pause(self, failures: int) -> float:
        """Return how long to wait, in seconds, after so many failures in a row."""
        if failures <= 1:
            return 0.0
        longest: float = min(self.longest_pause, self.first_pause * 2.0 ** min(failures - 2, 30))
        return longest * (0.5 + random() / 2)

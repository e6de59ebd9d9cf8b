"""Waking one thread that waits, in a way that no Ctrl-C can split."""

from __future__ import annotations

import threading
from contextlib import suppress


class Wake:
    """An event for one waiting thread, lowered again as it wakes up.

    It is a lock that is held until somebody has something to tell. `threading.Event` guards itself by a lock that Python
    code takes: a caller whom Ctrl-C interrupts in that moment leaves it taken, and all others wait for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def call(self) -> None:
        """Wake the thread that waits, or that will wait next."""
        if self._lock.locked():
            with suppress(RuntimeError):  # somebody else has called just now
                self._lock.release()

    def wait(self, timeout: float = -1) -> bool:
        """Wait for a call, so many seconds at most if a timeout is given; return whether there was one."""
        return self._lock.acquire(timeout=timeout)

"""Waiting for SQLite's lock, for all that write to a file which others write to: the log, and views beside it or elsewhere."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from random import random
from typing import Final

_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def primary_code(error: BaseException) -> int:
    """Return SQLite's own code of an error, without what it adds for details; 0 if there is none."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def is_busy(error: BaseException) -> bool:
    """Tell whether another connection held a lock, so that trying again may help."""
    return primary_code(error) in _BUSY


def until_free(work: Callable[[], object], timeout: float) -> None:
    """Run a statement that needs a lock, trying for up to `timeout` seconds in short, uneven steps.

    SQLite's own waiting sleeps up to 100 ms at a time, which starves writers of a rush. Raises what the statement does:
    sqlite3.OperationalError that is busy still, or another one at once.
    """
    started = time.monotonic()
    pause = 0.0002
    while True:
        try:
            work()
            return
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() - started > timeout:
                raise
        time.sleep(pause * (0.5 + random()))
        pause = min(pause * 1.5, 0.005)

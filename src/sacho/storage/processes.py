"""Which process this is: what was opened before a fork belongs to the parent."""

from __future__ import annotations

import os
from collections.abc import Callable


def same_process() -> Callable[[], bool]:
    """Return a function that tells whether the process is still the one that asked for it."""
    opened_in = os.getpid()
    return lambda: os.getpid() == opened_in

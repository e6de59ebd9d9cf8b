"""Which process this is: what was opened before a fork belongs to the parent."""

from __future__ import annotations

import os
from collections.abc import Callable


class _Process:
    """This process, told from its parents by how many forks lie before it."""

    forks = 0

    @classmethod
    def begin(cls) -> None:
        cls.forks += 1


os.register_at_fork(after_in_child=_Process.begin)


def same_process() -> Callable[[], bool]:
    """Return a function that tells whether the process is still the one that asked for it, without asking the system."""
    opened_after = _Process.forks
    return lambda: _Process.forks == opened_after

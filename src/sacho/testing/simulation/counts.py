"""Counts: what happened in simulations, in numbers."""

from __future__ import annotations

import msgspec


class Counts(msgspec.Struct):
    """What happened, in one simulation or in many.

    `deliveries` of events to consumers, `duplicates` among them; `commands` from outside, with those that came twice;
    `refusals` of commands from outside; `crashes` of workers; writes that the log did not answer (`unreachable`); `races`
    between two workers; clocks `set_back`; `called`: deadlines and commands for later whose time had come.
    """

    steps: int = 0
    events: int = 0
    deliveries: int = 0
    duplicates: int = 0
    commands: int = 0
    refusals: int = 0
    called: int = 0
    crashes: int = 0
    unreachable: int = 0
    races: int = 0
    set_back: int = 0

    def add(self, other: Counts) -> None:
        """Add what happened in another simulation."""
        for name, value in msgspec.structs.asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def __str__(self) -> str:
        return ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in msgspec.structs.asdict(self).items())

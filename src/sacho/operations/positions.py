"""Where the events of a log stand in its copy, in a few ranges. A checkpoint moves along."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from sacho.errors import LogsDiffer


class PositionRange(NamedTuple):
    """Events from `old_first` to `old_last` stand from `new_first` to `new_last`, with the same steps between them."""

    old_first: int
    old_last: int
    new_first: int
    new_last: int


class PositionMap(msgspec.Struct, frozen=True):
    """Where the events of a source stand in its copy: ranges in order, which ascend on both sides."""

    ranges: tuple[PositionRange, ...] = ()

    def moved(self, checkpoint: int) -> int:
        """Return the checkpoint in the copy for one in the source: just the same events of the source stand up to it.

        An event's own position moves to its new one. 0 if no event of the source stands up to the checkpoint.
        """
        index = bisect_right(self.ranges, checkpoint, key=lambda one: one.old_first) - 1
        if index < 0:
            return 0
        found = self.ranges[index]
        return found.new_first + min(checkpoint, found.old_last) - found.old_first


class MapMaking:
    """Gathers places, in order of old position, into ranges."""

    def __init__(self) -> None:
        self._ranges: list[PositionRange] = []

    @property
    def made(self) -> PositionMap:
        """The map of what was gathered."""
        return PositionMap(tuple(self._ranges))

    def check(self, places: Iterable[tuple[int, int]]) -> None:
        """Raise LogsDiffer unless these (old, new) positions ascend, from the last ones gathered on."""
        last = self._ranges[-1].new_last if self._ranges else 0
        for old, new in places:
            if new <= last:
                raise LogsDiffer(old, f"stands at {new} in the target, before events that it follows in the source")
            last = new

    def add(self, places: Iterable[tuple[int, int]]) -> None:
        """Gather more places."""
        for old, new in places:
            last = self._ranges[-1] if self._ranges else None
            if last is not None and new - old == last.new_first - last.old_first:
                self._ranges[-1] = last._replace(old_last=old, new_last=new)
            else:
                self._ranges.append(PositionRange(old, old, new, new))

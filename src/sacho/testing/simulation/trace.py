"""Trace: what happened in a simulation, step by step. The same seed leads to the same lines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta


class Trace:
    """Lines, each with its number, the time since the beginning, and what happened. They are put into words when asked for."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._notes: list[tuple[datetime, str, tuple[object, ...]]] = []

    def __len__(self) -> int:
        return len(self._notes)

    def note(self, now: datetime, text: str, *values: object) -> None:
        """Add a line: `text` with each `{}` in it replaced by a value."""
        self._notes.append((now, text, values))

    def lines(self, last: int | None = None) -> Iterator[str]:
        """Yield all lines, or so many of the last."""
        first = 0 if last is None else max(0, len(self._notes) - last)
        for number, (now, text, values) in enumerate(self._notes[first:], first + 1):
            yield f"{number:>5} {_clock(now - self._start):>12}  {text.format(*values)}"

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _clock(passed: timedelta) -> str:
    seconds = passed.total_seconds()
    minutes, left = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{left:06.3f}"

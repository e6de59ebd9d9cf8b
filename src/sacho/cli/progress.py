"""Showing how far an operation has come: a bar with rate and time left, for who sits at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from sacho.operations import Progress as Done
from sacho.operations.pipeline import silent


class _Rate(TextColumn):
    """How many positions or pages a second."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        """Return the rate, or nothing as long as it is not known."""
        return Text("" if task.speed is None else f"{task.speed:,.0f} {task.fields['unit']}/s")


@contextmanager
def shown() -> Iterator[Callable[[Done], None]]:
    """Give what takes progress, and shows it on standard error if that is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield silent
        return
    console = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"), _Rate())
    with Progress(*columns, TimeRemainingColumn(), TextColumn("left"), console=console, transient=True) as bars:
        yield _Bars(bars)


class _Bars:
    """A bar for each step of the operation."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, done: Done) -> None:
        if done.total:
            if done.step not in self._tasks:
                self._tasks[done.step] = self._bars.add_task(done.step, total=done.total, unit=done.unit)
            self._bars.update(self._tasks[done.step], completed=done.done)

"""Read → map → sink: how a log's events go somewhere else, a batch at a time, in bounded memory.

Copying stands on it, and whatever else reads a whole log to make something of it. Rows are taken as engines give them
out, so no event class is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias, TypeVar

from sacho.events import Query
from sacho.storage.port import Row, Storage

T = TypeVar("T")

BATCH_ROWS: Final = 1_000
"""How many events a batch has at most; large events make it smaller, as they do the pages of a read."""

EVERYTHING: Final = Query()


class Progress(NamedTuple):
    """How far a step of an operation has come: `done` of `total`, in units of `unit` (positions or pages)."""

    step: str
    unit: str
    done: int
    total: int


Tell: TypeAlias = Callable[[Progress], None]
"""Takes progress, about every thousand events or pages. What it raises ends the operation."""


def silent(progress: Progress) -> None:
    """Take progress and tell nobody."""


def batches(storage: Storage, after: int, to: int) -> Iterator[list[Row]]:
    """Read: yield the events with after < position <= to, in order of position, a batch at a time."""
    for page in storage.read_all(EVERYTHING, after=after, to=to, limit=None, backwards=False):
        for start in range(0, len(page), BATCH_ROWS):
            yield page[start : start + BATCH_ROWS]


def pumped(
    source: Iterable[list[Row]],
    change: Callable[[list[Row]], Sequence[T]],
    sink: Callable[[Sequence[T]], int],
    told: Callable[[Row], None],
) -> int:
    """Hand what `change` makes of each batch of the source to the sink; return the sum of what that returns.

    `told` takes the last event of each batch once the sink has it.
    """
    total = 0
    for rows in source:
        total += sink(change(rows))
        told(rows[-1])
    return total


class Along:
    """Tells how far a step has come along the positions after < position <= to."""

    def __init__(self, tell: Tell, step: str, after: int, to: int) -> None:
        self._tell = tell
        self._step = step
        self._after = after
        self._to = to
        self._told(after)

    def __call__(self, row: Row) -> None:
        """Tell that this event is done."""
        self._told(row[0])

    def end(self) -> None:
        """Tell that all is done."""
        self._told(self._to)

    def _told(self, position: int) -> None:
        self._tell(Progress(self._step, "positions", position - self._after, self._to - self._after))

"""Tables for people. They come page by page, so a long read neither waits for its end nor fills the memory.

What stands in events is shown as it is: control characters and terminal escapes are made visible, never obeyed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sacho.events import RecordedEvent

T = TypeVar("T")

ROWS_PER_TABLE = 1_000


def show_rows(headings: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    """Print rows under headings; numbers stand to the right."""
    console = Console(soft_wrap=False, highlight=False)
    for page in _pages(rows, ROWS_PER_TABLE):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading, value in zip(headings, page[0], strict=True):
            table.add_column(heading, justify="right" if isinstance(value, int) else "left", overflow="fold")
        for row in page:
            table.add_row(*(Text(visible(value)) for value in row))
        console.print(table)


def event_row(recorded: RecordedEvent) -> tuple[object, ...]:
    """Return what a table shows of an event."""
    return (
        recorded.position,
        recorded.stream or "",
        "" if recorded.version is None else str(recorded.version),
        recorded.type,
        f"{recorded.recorded_at:%Y-%m-%d %H:%M:%S}",
        msgspec.json.encode(recorded.event.data).decode(),
    )


EVENT_HEADINGS = ("position", "stream", "version", "type", "recorded at", "data")


def visible(value: object) -> str:
    """Return text whose control characters are written out, so that no terminal takes them for orders."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(value)
    )


def say(line: str) -> None:
    """Print one line at once, also into a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _pages(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(rows)
    while page := list(islice(source, size)):
        yield page

"""What is printed: JSON lines for programs, tables for people.

Tables come page by page, so a long read neither waits for its end nor fills the memory. The first page decides how wide
the columns are; on a narrow terminal an event's facts stand one below the other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sacho.cli.escaping import visible
from sacho.cli.lines import as_json
from sacho.events import RecordedEvent

T = TypeVar("T")
Row = Sequence[object]

ROWS_PER_PAGE: Final = 200
NARROW: Final = 120
"""Below so many columns events are shown in the narrow form."""
GAP: Final = 2
SHOWN_CHARACTERS: Final = 1_000
"""How much of an event's data a table shows; `--json` shows all."""

EVENT_HEADINGS: Final = ("position", "stream", "version", "type", "recorded (UTC)", "tags", "data")
NARROW_HEADINGS: Final = ("position", "event")


def say(line: str) -> None:
    """Print one line at once, also into a pipe."""
    say_lines((line,))
    sys.stdout.flush()


def say_lines(lines: Iterable[str]) -> None:
    """Print lines, in UTF-8 whatever the locale says: JSON is UTF-8."""
    out = sys.stdout.buffer
    for line in lines:
        out.write(f"{line}\n".encode())


def say_facts(facts: Mapping[str, object], *, json: bool) -> None:
    """Print facts by name: as one JSON object, or one below the other."""
    if json:
        say(as_json(facts))
    else:
        shown = ((name, ", ".join(fact) if isinstance(fact, list) else str(fact)) for name, fact in facts.items())
        show_rows(("", ""), shown)


def is_narrow() -> bool:
    """Tell whether the terminal is too narrow for wide tables."""
    return _console().width < NARROW


def show_events(events: Iterable[RecordedEvent]) -> None:
    """Print events as a table."""
    console = _console()
    if is_narrow():
        _show(console, NARROW_HEADINGS, map(_narrow_row, events))
    else:
        _show(console, EVENT_HEADINGS, map(event_row, events))


def show_rows(headings: Sequence[str], rows: Iterable[Row]) -> None:
    """Print rows under headings; numbers stand to the right."""
    _show(_console(), headings, rows)


def event_row(recorded: RecordedEvent) -> Row:
    """Return what a table shows of an event."""
    return (
        recorded.position,
        recorded.stream or "",
        "" if recorded.version is None else recorded.version,
        recorded.type,
        f"{recorded.recorded_at:%Y-%m-%d %H:%M:%S}",
        " ".join(sorted(recorded.tags)),
        _cut(as_json(recorded.event.data)),
    )


def _narrow_row(recorded: RecordedEvent) -> Row:
    position, stream, version, type, at, tags, data = event_row(recorded)
    place = f"{stream} {version} " if stream else ""
    return position, [f"{place}{type}", str(at), *([str(tags)] if tags else []), str(data)]


def _cut(text: str) -> str:
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]}… ({len(text):,} characters; --json shows all)"


class _Console(Console):
    """A console that leaves it to the command to end when the reader of its output has gone."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError on, where rich would end the program with an exit code of its own."""
        raise BrokenPipeError


def _console() -> Console:
    return _Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def _show(console: Console, headings: Sequence[str], rows: Iterable[Row]) -> None:
    widths: list[int] = []
    for page in _pages(rows, ROWS_PER_PAGE):
        has_header = not widths and any(headings)
        cells = [[_text(value) for value in row] for row in page]
        widths = widths or _widths(headings, cells, console.width)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=has_header, header_style="bold")
        for heading, width, value in zip(headings, widths, page[0], strict=True):
            table.add_column(
                heading, width=width, justify="right" if isinstance(value, int) else "left", overflow="fold"
            )
        for row in cells:
            table.add_row(*row)
        console.print(table)


def _widths(headings: Sequence[str], rows: Sequence[Sequence[Text]], room: int) -> list[int]:
    """Return how wide each column is: what it needs, but the widest give way until all fit."""
    wanted = [
        max(cell_len(heading), *(cell_len(line.plain) for row in rows for line in row[column].split()))
        for column, heading in enumerate(headings)
    ]
    room = max(room - GAP * (len(headings) - 1), len(headings))
    widths = [min(width, room) for width in wanted]
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return widths


def _text(value: object) -> Text:
    return Text("\n".join(map(visible, value)) if isinstance(value, list) else visible(str(value)))


def _pages(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(rows)
    while page := list(islice(source, size)):
        yield page

"""JSON lines: what `sacho append` takes, and what `--json` gives. The one can be fed by the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any
from uuid import UUID

import msgspec

from sacho.cli.escaping import visible
from sacho.errors import InvalidInput
from sacho.events import EventData, ExpectedVersion, RawEvent, RecordedEvent, Write
from sacho.store import connect

LARGEST_SCHEMA_VERSION = 2**31 - 1


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One event on standard input. What only the log can say (its place and time) may be there, and is not used."""

    type: str
    data: Any
    schema_version: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_SCHEMA_VERSION)] = 1
    id: UUID | None = None
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    stream: Any = None
    version: Any = None
    position: Any = None
    recorded_at: Any = None


class MalformedLine(InvalidInput):
    """A line that is no event. `number` counts from 1; nothing of the append was written."""

    def __init__(self, number: int, reason: str) -> None:
        self.number = number
        self.reason = reason
        super().__init__(f"line {number}: {reason}; nothing was appended")


class NumberedLines:
    """The events of JSON lines, one after the other; blank lines are passed over. `number` is that of the line at hand."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self.number = 0

    def __iter__(self) -> Iterator[EventData]:
        for number, line in enumerate(self._lines, start=1):
            self.number = number
            if line.strip():
                yield _event(number, line)
        self.number = 0


_decode = msgspec.json.Decoder(Line).decode


def write_of(stream: str, lines: Iterable[bytes], expected: ExpectedVersion, max_event_bytes: int) -> Write:
    """Return the append that the lines make. Raises MalformedLine for the first that is none, else what append raises.

    All is checked by the store's own rules before the log is opened: bad input does not even make a file.
    """
    numbered = NumberedLines(lines)
    with connect("memory://", max_event_bytes=max_event_bytes) as rules:
        try:
            return rules.encode(stream, numbered, expected)
        except MalformedLine:
            raise
        except InvalidInput as error:
            if not numbered.number:
                raise
            raise MalformedLine(numbered.number, str(error)) from error


def line_of(recorded: RecordedEvent) -> str:
    """Return a recorded event as one line of JSON."""
    return as_json(
        {
            "stream": recorded.stream,
            "version": recorded.version,
            "position": recorded.position,
            "type": recorded.type,
            "schema_version": recorded.schema_version,
            "id": recorded.id,
            "tags": sorted(recorded.tags),
            "metadata": recorded.metadata,
            "recorded_at": recorded.recorded_at,
            "data": recorded.event.data,
        }
    )


def as_json(value: Any) -> str:
    """Return JSON on one line, safe to show."""
    return visible(msgspec.json.encode(value).decode())


def _event(number: int, line: bytes) -> EventData:
    try:
        found = _decode(line)
    except RecursionError:
        raise MalformedLine(number, "JSON is nested too deeply") from None
    except (ValueError, msgspec.MsgspecError) as error:
        raise MalformedLine(number, str(error)) from error
    event = RawEvent(found.type, found.data, found.schema_version)
    return EventData(event, id=found.id, tags=found.tags, metadata=found.metadata)

"""JSON lines: what `sacho append` takes, and what `--json` gives. The one can be fed by the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec

from sacho.errors import InvalidInput
from sacho.events import EventData, RawEvent, RecordedEvent


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One event on standard input. What only the log can say (its place and time) may be there, and is not used."""

    type: str
    data: Any
    schema_version: int = 1
    id: UUID | None = None
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    stream: str | None = None
    version: int | None = None
    position: int | None = None
    recorded_at: str | None = None


class MalformedLine(InvalidInput):
    """A line that is no event. `number` counts from 1; nothing of the append was written."""

    def __init__(self, number: int, reason: str) -> None:
        self.number = number
        self.reason = reason
        super().__init__(f"line {number}: {reason}; nothing was appended")


_decode = msgspec.json.Decoder(Line).decode


def events_of(lines: Iterable[bytes]) -> list[EventData]:
    """Return the events of JSON lines; blank lines are passed over. Raises MalformedLine."""
    return [_event(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def line_of(recorded: RecordedEvent) -> str:
    """Return a recorded event as one line of JSON."""
    fields = {
        "stream": recorded.stream,
        "version": recorded.version,
        "position": recorded.position,
        "type": recorded.type,
        "schema_version": recorded.schema_version,
        "id": str(recorded.id),
        "tags": sorted(recorded.tags),
        "metadata": recorded.metadata,
        "recorded_at": recorded.recorded_at.isoformat(),
        "data": recorded.event.data,
    }
    return msgspec.json.encode(fields).decode()


def _event(number: int, line: bytes) -> EventData:
    try:
        found = _decode(line)
        return EventData(
            RawEvent(found.type, found.data, found.schema_version),
            id=found.id,
            tags=tuple(found.tags),
            metadata=found.metadata,
        )
    except (ValueError, msgspec.MsgspecError) as error:
        raise MalformedLine(number, str(error)) from error

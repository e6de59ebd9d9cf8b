"""What crosses the storage port on the way in: events as JSON text, grouped by stream. No event class is known there."""

from __future__ import annotations

import msgspec

from sacho.events.appending import ANY, ExpectedVersion
from sacho.events.querying import AppendCondition


class EncodedEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as an engine stores it. `id` is 16 bytes; `data` and `metadata` are JSON; `tags` are sorted."""

    id: bytes
    type: str
    schema_version: int
    data: str
    tags: tuple[str, ...] = ()
    metadata: str | None = None
    correlation_id: str | None = None


class StreamWrite(msgspec.Struct, frozen=True):
    """Events for one stream (None: for none), in order, and the version the stream must be at."""

    stream: str | None
    events: list[EncodedEvent]
    expected: ExpectedVersion = ANY


class Write(msgspec.Struct, frozen=True):
    """One atomic append: all parts or none, under one condition.

    One that `follows` rests on the write handed in just before it: it is refused unless that one was accepted anew.
    """

    parts: tuple[StreamWrite, ...]
    condition: AppendCondition | None = None
    follows: bool = False

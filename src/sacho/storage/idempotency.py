"""Strict idempotency by event id: the same ids with the same content are a repeat, anything else is an error."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from sacho.errors import DuplicateEventId
from sacho.events import Appended, EncodedEvent, StreamWrite, Write
from sacho.storage.port import Row

_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode


def first_result(write: Write, found: Sequence[Row]) -> list[Appended] | None:
    """Return the result that a write had when it was first made, or None if none of its ids is in the log.

    `found` are the stored events of its ids. Same content means same stream, type, data and tags. Raises
    DuplicateEventId where only some ids are there, the content differs, or an id stands twice in the write.
    """
    ids = [event.id for part in write.parts for event in part.events]
    if len(set(ids)) < len(ids):
        raise DuplicateEventId(_uuids({id for id in ids if ids.count(id) > 1}), "stands twice in one append")
    if not found:
        return None
    rows = {row[6]: row for row in found}
    changed = [
        event.id
        for part in write.parts
        for event in part.events
        if event.id in rows and not _is_same(rows[event.id], part.stream, event)
    ]
    if changed:
        raise DuplicateEventId(_uuids(changed), "is in the log already with other content")
    if len(rows) < len(ids):
        raise DuplicateEventId(_uuids(rows), "is in the log already, but other ids of this append are not")
    return [_appended(part, rows) for part in write.parts]


def _is_same(row: Row, stream: str | None, event: EncodedEvent) -> bool:
    _, stored_stream, _, type, _, data, _, tags, _, _ = row
    return (stored_stream, type, data) == (stream, event.type, event.data) and (
        _decode_tags(tags) if tags else ()
    ) == event.tags


def _appended(part: StreamWrite, rows: dict[bytes, Row]) -> Appended:
    last = max((rows[event.id] for event in part.events), key=lambda row: row[0])
    return Appended(last[2], last[0])


def _uuids(ids: Sequence[bytes] | set[bytes] | dict[bytes, Row]) -> list[UUID]:
    return [UUID(bytes=id) for id in sorted(ids)]

"""Turning stored rows into recorded events, page by page; and `Reading`, the iterable that reads come back as."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sacho.events import RawEvent, RecordedEvent
from sacho.schema import Encoding
from sacho.schema.encoding import Decode, decode_json
from sacho.storage.port import Row

Pages = Iterator[list[Row]]


class Decoding:
    """Rows to recorded events with the classes of one encoding, or to raw events without any."""

    def __init__(self, encoding: Encoding, *, raw: bool) -> None:
        self._encoding = encoding
        self._raw = raw
        self._known: dict[tuple[str, int], Decode] = {}
        self._classes: dict[str, type | None] = {}

    def page(self, rows: list[Row]) -> list[RecordedEvent]:
        """Decode one page. Raises UnknownEventType or UndecodableEvent, naming the event's place."""
        if self._raw:
            return [_raw(row) for row in rows]
        events: list[RecordedEvent] = []
        known = self._still_known()
        for position, stream, version, type, schema_version, data, id, tags, metadata, at in rows:
            decode = known.get((type, schema_version))
            try:
                event = decode(data) if decode else self._first(type, schema_version, data, (stream, version, position))
            except ValueError:
                event = self._encoding.decode(type, schema_version, data, (stream, version, position))
            events.append(RecordedEvent(position, stream, version, type, schema_version, event, id, tags, metadata, at))
        return events

    def events(self, rows: list[Row]) -> list[Any]:
        """Decode one page to the events alone, for folding."""
        known = self._still_known()
        try:
            return [known[row[3], row[4]](row[5]) for row in rows]
        except (KeyError, ValueError):
            return [recorded.event for recorded in self.page(rows)]

    def _still_known(self) -> dict[tuple[str, int], Decode]:
        """Return the decoders in use; forget them if a module was loaded again and brought its classes anew."""
        find = self._encoding.registry.find
        if any(find(type) is not cls for type, cls in self._classes.items()):
            self._known, self._classes = {}, {}
        return self._known

    def _first(self, type: str, schema_version: int, data: str, place: tuple[str | None, int | None, int]) -> Any:
        event = self._encoding.decode(type, schema_version, data, place)
        decode = self._encoding.decoder(type, schema_version)
        if decode is not None:
            self._known[type, schema_version] = decode
            self._classes[type] = self._encoding.registry.find(type)
        return event


def _raw(row: Row) -> RecordedEvent:
    position, stream, version, type, schema_version, data, id, tags, metadata, at = row
    event = RawEvent(type, decode_json(data), schema_version)
    return RecordedEvent(position, stream, version, type, schema_version, event, id, tags, metadata, at)


class Reading:
    """The events of one read, in order. Iterating streams them in bounded memory; iterating again starts anew.

    `head` is the position up to which the reading is complete: the log's head when it was made, or what was asked for
    by `to`; where a `limit` ended it, the position of its last event, once that was read.
    """

    def __init__(self, head: int, pages: Callable[[], Pages], decoding: Decoding, *, limit: int | None = None) -> None:
        self.head = head
        self._pages = pages
        self._decoding = decoding
        self._limit = limit

    def __iter__(self) -> Iterator[RecordedEvent]:
        for page in self.pages():
            yield from page

    def pages(self) -> Iterator[list[RecordedEvent]]:
        """Yield the events in lists as they come from the log, up to 2,000 at a time."""
        count = 0
        for rows in self._pages():
            count += len(rows)
            if count == self._limit:
                self.head = min(self.head, rows[-1][0])
            yield self._decoding.page(rows)

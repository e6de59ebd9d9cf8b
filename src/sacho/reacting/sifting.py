"""Sifting: rows of the log become the events of a consumer, each with its key, or without one where that cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sacho.errors import SchemaError
from sacho.events import RecordedEvent
from sacho.reacting.consumer import Consumer
from sacho.reacting.databases import storable
from sacho.reacting.taking import HandlerFailed

if TYPE_CHECKING:
    from sacho.storage.port import Row
    from sacho.store import EventStore


class Sifting:
    """Decodes what one consumer is to handle, and tells its keys."""

    def __init__(self, store: EventStore, consumer: Consumer) -> None:
        self._store = store
        self._consumer = consumer
        self._concerns_all = type(consumer).concerns is Consumer.concerns

    def events(self, rows: Sequence[Row]) -> list[RecordedEvent]:
        """Return rows as the events that concern the consumer.

        One that has no class, or does not fit it, comes raw, if it is to be handled at all.
        """
        events = self._decoded(rows)
        return events if self._concerns_all else [one for one in events if self._concerned(one)]

    def _concerned(self, recorded: RecordedEvent) -> bool:
        try:
            return self._consumer.concerns(recorded)
        except Exception:  # it cannot be told, and so it fails where it is handled
            return True

    def _decoded(self, rows: Sequence[Row]) -> list[RecordedEvent]:
        page, raw = self._store.decoding(raw=False).page, self._store.decoding(raw=True).page
        stream = self._consumer.stream
        if stream is not None:
            rows = [row for row in rows if row[1] == stream]
        try:
            return page(list(rows))
        except SchemaError:
            events: list[RecordedEvent] = []
            for row in rows:
                try:
                    events += page([row])
                except SchemaError:
                    if self._consumer.handler(row[3]) is not None:
                        events += raw([row])
            return events

    def key(self, recorded: RecordedEvent) -> str | None:
        """Return the event's key, or None where it cannot be told: then it may be any one's."""
        try:
            return storable(str(self._consumer.key(recorded)))
        except Exception:
            return None

    def failed(self, recorded: RecordedEvent) -> HandlerFailed:
        """Return the failure of an event that could not be decoded, or whose key cannot be told, with its cause."""
        failed = HandlerFailed(recorded)
        rows = self._store.storage.find([recorded.stored_id])
        try:
            self._store.decoding(raw=False).page(rows)
            self._consumer.key(recorded)
        except Exception as error:
            failed.__cause__ = error
        return failed

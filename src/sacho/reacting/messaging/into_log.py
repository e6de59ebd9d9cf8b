"""Messages into another log of Sacho, where they are events like any others."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sacho.errors import (
    DuplicateEventId,
    InvalidInput,
    MessageRefused,
    MessageTooLarge,
    PayloadTooLarge,
    StorageBusy,
    StorageFull,
    StorageReadOnly,
    StorageUnreachable,
    TargetUnreachable,
)
from sacho.events import EventData, RawEvent
from sacho.events.naming import stream_id
from sacho.reacting.messaging.message import Message
from sacho.reacting.messaging.target import Outcome, filled, lanes
from sacho.schema.encoding import decode_json

if TYPE_CHECKING:
    from sacho.store import EventStore

AT_ONCE: Final = 500
_AWAY: Final = (StorageBusy, StorageFull, StorageReadOnly, StorageUnreachable)


class LogTarget:
    """Appends messages to another log: `LogTarget(sacho.connect("postgresql://…"), category="booking")`.

    Each key has a stream, `category-key`. An event's id is that of the message, so that it is there once, whatever comes
    twice. Its type and schema version are those that the public event declares: a reader declares
    `class OrderConfirmed(Event, type="conference.order-confirmed", version=1)`. Metadata: `correlation_id`,
    `causation_id`, `source`, and `sequence`, the place in the log where it comes from.

    The store stays open; it is whoever opened it that closes it.
    """

    at_once = AT_ONCE

    def __init__(self, store: EventStore, *, category: str) -> None:
        stream_id(category, "key")
        self._store = store
        self._category = category

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """Append messages, those of different keys together; return what became of each."""
        outcomes: list[Outcome] = [None] * len(messages)
        waiting = [lane[::-1] for lane in lanes(messages)]
        while waiting:
            begun = [(lane, lane.pop()) for lane in waiting]
            futures = [self._begun(messages[place]) for _, place in begun]
            waiting = []
            for (lane, place), future in zip(begun, futures, strict=True):
                error = self._error(future)
                if error is not None:
                    filled(outcomes, [place, *lane], error)
                elif lane:
                    waiting.append(lane)
        return outcomes

    def __repr__(self) -> str:
        return f"<LogTarget {self._store.url} {self._category}>"

    def _begun(self, message: Message) -> Future[Any]:
        event = message.event
        metadata = {"source": message.source, "sequence": message.sequence, "causation_id": message.causationid}
        if message.correlationid is not None:
            metadata["correlation_id"] = message.correlationid
        raw = RawEvent(event.public_type, decode_json(message.data), event.public_version)
        try:
            stream = stream_id(self._category, message.subject)
            return self._store.submit(stream, [EventData(raw, UUID(message.id), (), metadata)])
        except Exception as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    def _error(self, future: Future[Any]) -> Outcome:
        error = future.exception()
        where = self._store.url
        if isinstance(error, DuplicateEventId):
            return None  # it is there; who made it then made another event of it
        if isinstance(error, PayloadTooLarge):
            return MessageTooLarge(where, error.size, error.limit)
        told: Outcome = None
        if isinstance(error, _AWAY):
            told = TargetUnreachable(where, str(error))
        elif isinstance(error, InvalidInput):
            told = MessageRefused(where, str(error))
        if told is not None:
            told.__cause__ = error
        return told or error

"""Relay: takes what others are to hear out of the log. The log is the outbox, so nothing is written twice.

An event that is in the log leaves, whatever crashes; one that is not, does not. What leaves is at least once, in order of
its key, under an id that stays the same.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar
from uuid import UUID

from sacho.deciding import Decider
from sacho.errors import InvalidConsumer, InvalidEvent, UnpublishableEvent
from sacho.events import RawEvent, RecordedEvent
from sacho.reacting.consumer import Consumer
from sacho.reacting.declaring import EVERY, marking
from sacho.reacting.messaging.folds import Folds
from sacho.reacting.messaging.message import Message, sequence_of
from sacho.reacting.messaging.public_event import PublicEvent
from sacho.reacting.messaging.sending import Sending
from sacho.reacting.messaging.target import Target
from sacho.reacting.taking import Commits, Surroundings, Taking
from sacho.schema.encoding import encode_json
from sacho.store.ids import derived_id

if TYPE_CHECKING:
    from sacho.store import EventStore

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")

_SOURCE: Final = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_MARK: Final = "__sacho_publishes__"
PARTITIONS: Final = 8


class Context:
    """What a relay's method is given beside the event. What it returns hangs on nothing else, so that it is the same each time."""

    def __init__(self, recorded: RecordedEvent, key: str, folds: Folds) -> None:
        self.recorded = recorded
        """The event with its place, time, tags and metadata."""
        self.key = key
        """What the message keeps its order by."""
        self._folds = folds

    def history(self) -> list[RecordedEvent]:
        """Return the events of the event's stream up to it, in order, itself the last: so several become one message.

        What came later is not among them, also when the event is relayed long after.
        """
        recorded = self.recorded
        if recorded.stream is None:
            return [recorded]
        return list(self._folds.store.read(recorded.stream, to=recorded.version))

    def fold(self, decider: Decider[Any, S, Any]) -> S:
        """Return the state that a decider's `evolve` makes of that history. It is not to be changed.

        The states of streams are remembered, so that a long one is not read from its beginning for each of its events.
        """
        recorded = self.recorded
        if recorded.stream is None or recorded.version is None:
            return decider.fold(decider.initial, [recorded.event])
        return self._folds.at(decider, recorded.stream, recorded.version)


def publishes(*types: type | str, key: str | Callable[[Any], object] | None = None) -> Callable[[F], F]:
    """Mark a method `(self, event, context)` as what says which message becomes of these types of events.

    It returns a PublicEvent, several (or yields them), or None: then nothing leaves. `key` is a field of the event, or a
    function of it, by which messages keep their order; without one, or where it gives None, that is the stream.
    """
    handled = marking("@publishes", "OrderConfirmed", types, key)

    def mark(method: F) -> F:
        setattr(method, _MARK, True)
        return handled(method)

    return mark


class Relay(Consumer):
    """Tells others: `class Outside(Relay)` with `source`, and methods `(self, event, context)` marked by `@publishes(Type)`.

        class Outside(Relay):
            source = "urn:conference:booking"

            @publishes(OrderConfirmed, key="order_id")
            def confirmed(self, event, context):
                return PublicOrderConfirmed(event.order_id, ...)

        Application(url, consumers=[Outside(JetStreamTarget("nats://localhost:4222", subject="outside.{type}"))])

    `source` is a URI (CloudEvents' attribute) that stands for who tells: with it a message's id is unique. The name of the
    relay is part of the ids, so it stays. Beside that it is declared as any consumer; its keys are independent, and dealt
    among 8 partitions. An event whose message the target will not take is parked, with those of its key that follow; while
    the target does not answer at all, the relay waits.
    """

    source: ClassVar[str] = ""
    partitions: ClassVar[int] = PARTITIONS
    independent_keys: ClassVar[bool] = True
    has_keyed_methods: ClassVar[bool] = True

    def __init__(self, target: Target) -> None:
        self.target = target
        """Where messages go."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for handler in cls.handlers.values():
            if inspect.iscoroutinefunction(getattr(cls, handler.method)):
                raise InvalidConsumer(
                    cls.__qualname__,
                    f"{handler.method} is async; what leaves is made of the event alone, without waiting",
                )
            if not hasattr(getattr(cls, handler.method), _MARK):
                raise InvalidConsumer(
                    cls.__qualname__, f"{handler.method}: what a relay publishes is marked by @publishes"
                )
        if cls.handlers and not (isinstance(cls.source, str) and _SOURCE.fullmatch(cls.source)):
            raise InvalidConsumer(
                cls.__qualname__, f'source = {cls.source!r} is no URI; write source = "urn:conference:booking"'
            )

    def key(self, recorded: RecordedEvent) -> str:
        """Return the key that the method declares, else the stream."""
        handler = self.handlers.get(recorded.type) or self.handlers.get(EVERY)
        found = None if handler is None or handler.key is None else _value(handler.key, recorded.event)
        return super().key(recorded) if found is None else str(found)

    def taking(self, commits: Commits, here: Surroundings) -> Taking:
        """Return what sends the messages of a worker's events."""
        return Sending(self, here.store)

    def messages(self, recorded: RecordedEvent, store: EventStore, folds: Folds | None = None) -> list[Message]:
        """Return the messages of an event, in order: the same ones at any time. Raises UnpublishableEvent, and what a method raises."""
        method = self.handler(recorded.type)
        if method is None:
            return []
        key = self.key(recorded)
        found = method(recorded.event, Context(recorded, key, folds or Folds(store)))
        if found is None:
            return []
        if isinstance(found, PublicEvent):
            return [self._message(recorded, key, found, 0)]
        if not isinstance(found, Iterable) or isinstance(found, str | bytes | Mapping):
            raise self._unpublishable(recorded, f"returned {type(found).__name__}, not a PublicEvent, several, or None")
        return [self._message(recorded, key, event, index) for index, event in enumerate(found)]

    def _message(self, recorded: RecordedEvent, key: str, event: object, index: int) -> Message:
        if not isinstance(event, PublicEvent):
            raise self._unpublishable(recorded, f"gave {type(event).__name__}, which is no PublicEvent")
        if not key:
            raise self._unpublishable(recorded, "the key is empty")
        try:
            data = encode_json(event.message_type, event)
        except InvalidEvent as error:
            raise self._unpublishable(
                recorded, f"{event.message_type} cannot be written as JSON: {error.reason}"
            ) from error
        cause = str(recorded.id)
        correlation = recorded.metadata.get("correlation_id")
        names = (self.name, str(index)) if index else (self.name,)
        return Message(
            id=str(UUID(bytes=derived_id(cause, *names))),
            source=self.source,
            type=event.message_type,
            subject=key,
            time=recorded.recorded_at,
            sequence=sequence_of(recorded.position, index),
            causationid=cause,
            correlationid=None if correlation is None else str(correlation),
            data=data,
            event=event,
        )

    def _unpublishable(self, recorded: RecordedEvent, reason: str) -> UnpublishableEvent:
        handler = self.handlers.get(recorded.type) or self.handlers[EVERY]
        return UnpublishableEvent(type(self).__qualname__, handler.method, reason)


def _value(key: str | Callable[[Any], object], event: Any) -> object:
    """Return what a key names in an event; also in one that could not be decoded, so that it holds up its own key only."""
    if callable(key):
        return key(event)
    if isinstance(event, RawEvent):
        return event.data[key]
    return getattr(event, key)

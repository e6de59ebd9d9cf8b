"""Sacho: event sourcing for Python. The log of events is the record; everything else is a view compiled from it."""

from sacho.errors import SachoError
from sacho.events import (
    ANY,
    EXISTS,
    NO_STREAM,
    Append,
    AppendCondition,
    Appended,
    Event,
    EventData,
    Query,
    QueryItem,
    RawEvent,
    RecordedEvent,
    event,
    stream_id,
)
from sacho.schema import Registry
from sacho.store import EventStore, Subscription, caused_by, connect, metadata, uuid7

__all__ = [
    "ANY",
    "EXISTS",
    "NO_STREAM",
    "Append",
    "AppendCondition",
    "Appended",
    "Event",
    "EventData",
    "EventStore",
    "Query",
    "QueryItem",
    "RawEvent",
    "RecordedEvent",
    "Registry",
    "SachoError",
    "Subscription",
    "caused_by",
    "connect",
    "event",
    "metadata",
    "stream_id",
    "uuid7",
]

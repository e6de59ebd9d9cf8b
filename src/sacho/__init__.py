"""Sacho: event sourcing for Python. The log of events is the record; everything else is a view compiled from it."""

from sacho.aio import connect_async
from sacho.deciding import Aggregate, AggregateDecider, CommandHandler, Decider
from sacho.errors import CommandRefused, SachoError
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
from sacho.store import EventStore, Subscription, caused_by, connect, metadata, own_writes, uuid7

__all__ = [
    "ANY",
    "Aggregate",
    "AggregateDecider",
    "Append",
    "AppendCondition",
    "Appended",
    "CommandHandler",
    "CommandRefused",
    "Decider",
    "EXISTS",
    "Event",
    "EventData",
    "EventStore",
    "NO_STREAM",
    "Query",
    "QueryItem",
    "RawEvent",
    "RecordedEvent",
    "Registry",
    "SachoError",
    "Subscription",
    "caused_by",
    "connect",
    "connect_async",
    "event",
    "metadata",
    "own_writes",
    "stream_id",
    "uuid7",
]

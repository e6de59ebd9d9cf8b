"""Sacho: event sourcing for Python. The log of events is the record; everything else is a view compiled from it."""

from sacho.aio import connect_async
from sacho.deciding import Aggregate, AggregateDecider, CommandBus, CommandHandler, Decider, Envelope, call, route
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
    "CommandBus",
    "CommandHandler",
    "CommandRefused",
    "Decider",
    "EXISTS",
    "Envelope",
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
    "call",
    "caused_by",
    "connect",
    "connect_async",
    "event",
    "metadata",
    "own_writes",
    "route",
    "stream_id",
    "uuid7",
]

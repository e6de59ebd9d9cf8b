"""Frozen values: what an application records, asks for and gets back. Nothing here reads, writes or waits."""

from sacho.events.appending import ANY, EXISTS, NO_STREAM, Append, Appended, EventData, Expected, ExpectedVersion
from sacho.events.builtin import (
    CommandDue,
    CommandStored,
    CommandTurnedDown,
    CommandWithdrawn,
    DeadlinePassed,
    PendingDeadline,
    ProcessAdvanced,
    SentCommand,
    command_stream,
    deadline_stream,
    refusal_stream,
)
from sacho.events.declaring import Declaration, Event, declaration_of, event, type_name_of
from sacho.events.encoded import EncodedEvent, StreamWrite, Write
from sacho.events.naming import category_of, stream_id
from sacho.events.querying import AppendCondition, Query, QueryItem
from sacho.events.recorded import RawEvent, RecordedEvent

__all__ = [
    "ANY",
    "Append",
    "AppendCondition",
    "Appended",
    "CommandDue",
    "CommandStored",
    "CommandTurnedDown",
    "CommandWithdrawn",
    "DeadlinePassed",
    "Declaration",
    "EXISTS",
    "EncodedEvent",
    "Event",
    "EventData",
    "Expected",
    "ExpectedVersion",
    "NO_STREAM",
    "PendingDeadline",
    "ProcessAdvanced",
    "Query",
    "QueryItem",
    "RawEvent",
    "RecordedEvent",
    "SentCommand",
    "StreamWrite",
    "Write",
    "category_of",
    "command_stream",
    "deadline_stream",
    "declaration_of",
    "event",
    "refusal_stream",
    "stream_id",
    "type_name_of",
]

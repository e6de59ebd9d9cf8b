"""The events that Sacho itself records: commands that wait, steps of process managers, deadlines that have passed.

They stand in the log beside the application's own, as readable, and every registry knows them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from sacho.events.declaring import Event
from sacho.events.naming import stream_id

COMMAND_CATEGORY = "sacho_command"
DEADLINE_CATEGORY = "sacho_deadline"
REFUSAL_CATEGORY = "sacho_refusal"


def command_stream(command_id: str) -> str:
    """Return the stream of a stored command."""
    return stream_id(COMMAND_CATEGORY, command_id)


def deadline_stream(process_stream: str) -> str:
    """Return the stream of the deadlines of a process that have passed."""
    return stream_id(DEADLINE_CATEGORY, process_stream)


def refusal_stream(process_stream: str) -> str:
    """Return the stream of the commands of a process that were refused."""
    return stream_id(REFUSAL_CATEGORY, process_stream)


class CommandStored(Event, type="sacho.command-stored"):
    """A command is to be handled, at once or at a time; another one in its stream replaces it.

    `command` is its type's name, `data` its fields as JSON. Commands of one `key` are sent in the order of the log.
    """

    command_id: str
    command: str
    data: dict[str, Any]
    key: str
    due_at: datetime | None = None


class CommandWithdrawn(Event, type="sacho.command-withdrawn"):
    """A stored command is not to be handled any more."""

    command_id: str


class CommandDue(Event, type="sacho.command-due"):
    """The time of a stored command, or of one that a process sent for later, has come.

    `process` and `process_key` name the process that sent it, if one did.
    """

    command_id: str
    command: str
    data: dict[str, Any]
    key: str
    due_at: datetime
    process: str = ""
    process_key: str = ""


class SentCommand(msgspec.Struct, frozen=True):
    """A command that a process sends; with `due_at`, at that time."""

    id: str
    command: str
    data: dict[str, Any]
    due_at: datetime | None = None


class PendingDeadline(msgspec.Struct, frozen=True):
    """A deadline of a process that has not passed: its time, and the version of the process's stream that set it."""

    due_at: datetime
    set_by: int


class ProcessAdvanced(Event, type="sacho.process-advanced"):
    """A process took one step: what came in, its state since, what it sends, and all deadlines that it waits for.

    `input_id`, `input_type` and `input_position` are those of the event that came in, `at` the time that the process took
    for the present. The last of a process's stream says all about it.
    """

    process: str
    key: str
    input_id: str
    input_type: str
    input_position: int
    at: datetime
    state: Any
    commands: tuple[SentCommand, ...] = ()
    deadlines: dict[str, PendingDeadline] = msgspec.field(default_factory=dict)
    is_done: bool = False


class DeadlinePassed(Event, type="sacho.deadline-passed", tags=("process:{process}",)):
    """The time of a deadline of a process has come. `set_by` is the version of the process's stream that set it."""

    process: str
    key: str
    name: str
    due_at: datetime
    set_by: int


class CommandTurnedDown(Event, type="sacho.command-turned-down", tags=("process:{process}",)):
    """A command that a process sent was refused: `error` is the type of the refusal, `reason` what it said."""

    process: str
    key: str
    command_id: str
    command: str
    data: dict[str, Any]
    error: str
    reason: str


BUILT_IN: tuple[type, ...] = (
    CommandStored,
    CommandWithdrawn,
    CommandDue,
    ProcessAdvanced,
    DeadlinePassed,
    CommandTurnedDown,
)

"""What a process manager may do about an event: send commands, set deadlines, become another state, be done."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

import msgspec

from sacho.events import RecordedEvent


class Send(msgspec.Struct, frozen=True):
    """Send a command, at once or `at` a time (with a time zone). It gets an id that is the same whenever it is sent again."""

    command: Any
    at: datetime | None = None


class SetDeadline(msgspec.Struct, frozen=True):
    """Be called `at` a time (with a time zone), in place of the deadline of this name that was set before."""

    name: str
    at: datetime


class CancelDeadline(msgspec.Struct, frozen=True):
    """Wait no longer for the deadline of a name."""

    name: str


class Become(msgspec.Struct, frozen=True):
    """Be in another state from now on."""

    state: Any


class Done(msgspec.Struct, frozen=True):
    """The process has ended: it waits for no deadline and takes no event, but those that are declared `when_done`."""


Reaction: TypeAlias = Send | SetDeadline | CancelDeadline | Become | Done


class Moment(NamedTuple):
    """When and by what a process is called.

    `now` is the present in UTC, for one process never before it was called last; `recorded` is the event in hand with its
    place, time and metadata; `key` names the process.
    """

    now: datetime
    recorded: RecordedEvent
    key: str

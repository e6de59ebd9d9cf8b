"""Commands in the log: their stored form, and the life of one there: stored, replaced, withdrawn, due."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from sacho.deciding.checking import invalid_form
from sacho.deciding.decider import Decider
from sacho.deciding.routing import Routes
from sacho.errors import InvalidCommand, InvalidEvent, UnknownCommand
from sacho.events import CommandDue, CommandStored, CommandWithdrawn
from sacho.schema.encoding import Decode, decoder_of, plain_values

_to_json = msgspec.json.Encoder().encode


class Stored(NamedTuple):
    """A command that stands in the log: its id, and the position of the event that says so."""

    command_id: str
    position: int


class StoredForms:
    """Commands to their stored form and back, for the types that have a route."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._decoders: dict[type, Decode] = {}

    def of(self, command: Any) -> tuple[str, dict[str, Any]]:
        """Return a command's name and its fields as plain JSON values. Raises NoHandler or InvalidCommand."""
        self._routes.target(command)
        name = type(command).__name__
        try:
            data = plain_values(name, command)
        except InvalidEvent as error:
            raise InvalidCommand(name, "$", error.reason) from error
        if not isinstance(data, dict):
            raise InvalidCommand(
                name, "$", "its JSON is no object, so it cannot be stored; make it a struct or dataclass"
            )
        return name, data

    def command(self, name: str, data: Any) -> Any:
        """Return the command of a stored form. Raises NoHandler or InvalidCommand."""
        cls = self._routes.command_type(name)
        decode = self._decoders.get(cls)
        try:
            if decode is None:
                decode = self._decoders[cls] = decoder_of(cls)
            return decode(_to_json(data).decode())
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise invalid_form(name, error) from error


def checked_time(command: Any, at: object) -> datetime | None:
    """Return a time in UTC, or None. Raises InvalidCommand for one without a zone."""
    if at is None:
        return None
    if not isinstance(at, datetime):
        raise InvalidCommand(command, "at", f"{at!r} is no datetime")
    if at.utcoffset() is None:
        raise InvalidCommand(
            command, "at", f"{at.isoformat()} has no time zone; say which, for example with tzinfo=UTC"
        )
    return at.astimezone(UTC)


class Replace(NamedTuple):
    """Put another command, or another time, in the place of one that waits; it may keep that one's key."""

    stored: CommandStored
    keeps_key: bool

    @property
    def command_id(self) -> str:
        """The id of the command."""
        return self.stored.command_id


class Withdraw(NamedTuple):
    """Take back a command that waits."""

    command_id: str


OfStored: TypeAlias = CommandStored | CommandWithdrawn | CommandDue | None


class StoredCommands(Decider[Replace | Withdraw, OfStored, Any]):
    """Decides what may still be done with a stored command: nothing, once it is due or withdrawn.

    Whoever lets it become due appends CommandDue with the version of the CommandStored that it saw, so of the two only
    one comes through. A command stored for no time is due at once.
    """

    initial: OfStored = None

    def decide(self, command: Replace | Withdraw, state: OfStored) -> Iterator[Any]:
        """Yield what happens: nothing, where it is too late."""
        if state is None:
            raise UnknownCommand(command.command_id)
        if not isinstance(state, CommandStored) or state.due_at is None:
            return
        if isinstance(command, Withdraw):
            yield CommandWithdrawn(command.command_id)
        else:
            yield replace(command.stored, key=state.key) if command.keeps_key else command.stored

    def evolve(self, state: OfStored, event: Any) -> OfStored:
        """Return the last event: it says all."""
        last: OfStored = event
        return last

"""Errors about commands on their way to a handler; see the tree in `sacho.errors`."""

from __future__ import annotations

from collections.abc import Iterable

from sacho.errors.base import SachoError

__all__ = [
    "CommandError",
    "DuplicateRoute",
    "InvalidCommand",
    "InvalidRoute",
    "NoHandler",
    "NotAuthorised",
    "UnknownCommand",
]


class CommandError(SachoError):
    """A command did not come as far as its handler, or routes cannot be meant. Nothing was recorded."""

    is_final = True


class NoHandler(CommandError, LookupError):
    """No route takes commands of this type. `command` is the type's name, `known` those that have one."""

    def __init__(self, command: object, known: Iterable[str]) -> None:
        self.command = _name_of(command)
        self.known = tuple(sorted(known))
        super().__init__(
            f"no handler for {self.command}; there are some for {', '.join(self.known) or 'nothing'}: "
            "hand the bus a route(...) or call(...) for it"
        )


class InvalidCommand(CommandError, ValueError):
    """A command whose fields break the rules of its class; it was not handled.

    `command` is its type's name, `path` the field, as in `$.seats[0].quantity` (`$`: the command itself), `reason` what
    is wrong with it.
    """

    def __init__(self, command: object, path: str, reason: str) -> None:
        self.command = _name_of(command)
        self.path = path
        self.reason = reason
        super().__init__(f"{self.command} is not valid at {path}: {reason}")


class NotAuthorised(CommandError):
    """This actor may not give this command. Carries `command` (its type's name), `actor` and `reason`."""

    def __init__(self, command: object, actor: str | None, reason: str = "this actor may not do this") -> None:
        self.command = _name_of(command)
        self.actor = actor
        self.reason = reason
        who = "nobody in particular" if actor is None else repr(actor)
        super().__init__(f"{self.command} by {who} is not authorised: {reason}")


class InvalidRoute(CommandError, TypeError):
    """A route, step or hook that cannot be meant."""


class DuplicateRoute(CommandError, TypeError):
    """Two routes for one type of command. `command` is the type's name, `first` and `second` the routes."""

    def __init__(self, command: object, first: object, second: object) -> None:
        self.command = _name_of(command)
        self.first = str(first)
        self.second = str(second)
        super().__init__(
            f"{self.command} has two routes: {self.first} and {self.second}; a command has one handler, known by the "
            "name of its class: take it out of one of them, or give one of two classes another name"
        )


class UnknownCommand(CommandError, LookupError):
    """No command of this id was stored. `command_id` is what was asked for."""

    def __init__(self, command_id: str) -> None:
        self.command_id = command_id
        super().__init__(f"no command {command_id!r} is stored here")


def _name_of(command: object) -> str:
    """Return what a command, its class or its name is called."""
    if isinstance(command, str):
        return command
    return command.__name__ if isinstance(command, type) else type(command).__name__

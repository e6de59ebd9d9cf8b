"""Declaring what a process manager takes: which events begin or continue a process, whose it is, its deadlines and refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

from sacho.errors import InvalidConsumer, InvalidName
from sacho.events import type_name_of
from sacho.reacting.declaring import check_key

F = TypeVar("F", bound=Callable[..., Any])

Key: TypeAlias = str | Callable[[Any], object]
"""A field's name, or a function of the event: which process an event is for, None if for none of the kind."""
Kind: TypeAlias = Literal["event", "deadline", "refusal"]

_ATTRIBUTE: Final = "__sacho_takes__"


class Takes(NamedTuple):
    """What one method of a process manager takes, by name: types of events, deadlines, or types of commands refused."""

    kind: Kind
    names: tuple[str, ...]
    method: str = ""
    key: Key = ""
    may_start: bool = False
    when_done: bool = False


def starts(*events: type | str, key: Key) -> Callable[[F], F]:
    """Mark the method for events that begin a process, if there is none of that key; it takes them later, too."""
    check_key(events, key)
    return _mark("event", events, key=key, may_start=True)


def continues(*events: type | str, key: Key, when_done: bool = False) -> Callable[[F], F]:
    """Mark the method for events of a process that was begun; with `when_done`, also of one that has ended.

    A process that has ended and reacts goes on, until it is done again.
    """
    check_key(events, key)
    return _mark("event", events, key=key, when_done=when_done)


def on_deadline(*names: str) -> Callable[[F], F]:
    """Mark the method that is called when a deadline has passed, with a `DeadlinePassed`."""
    return _mark("deadline", names)


def on_refusal(*commands: type | str, when_done: bool = False) -> Callable[[F], F]:
    """Mark the method that is called when a command of these types was refused, with a `CommandTurnedDown`."""
    return _mark("refusal", commands, when_done=when_done)


def taken_by(cls: type) -> dict[tuple[Kind, str], Takes]:
    """Return what the methods of a class and its bases take. Raises InvalidConsumer where two take the same."""
    found: dict[tuple[Kind, str], Takes] = {}
    for base in reversed(cls.__mro__):
        own: dict[tuple[Kind, str], str] = {}
        for method, member in vars(base).items():
            takes: Takes | None = getattr(member, _ATTRIBUTE, None)
            for name in takes.names if takes else ():
                assert takes is not None
                place = takes.kind, name
                if place in own:
                    raise InvalidConsumer(
                        cls.__qualname__, f"both {own[place]} and {method} take the {takes.kind} {name!r}"
                    )
                own[place] = method
                found[place] = takes._replace(method=method)
    return found


def _mark(kind: Kind, names: tuple[type | str, ...], **more: Any) -> Callable[[F], F]:
    def mark(method: F) -> F:
        if not names:
            raise InvalidConsumer(method.__qualname__, f"is marked for no {kind}; name at least one")
        setattr(method, _ATTRIBUTE, Takes(kind, tuple(_name(kind, one, method) for one in names), **more))
        return method

    return mark


def _name(kind: Kind, one: type | str, method: Callable[..., Any]) -> str:
    if kind == "event":
        try:
            return type_name_of(one)
        except InvalidName as error:
            raise InvalidConsumer(method.__qualname__, str(error)) from error
    return one.__name__ if isinstance(one, type) else one

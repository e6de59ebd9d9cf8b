"""What comes back to whoever gave a command, or asked for a state."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

S = TypeVar("S")


class Outcome(NamedTuple):
    """What became of a command.

    `events` are those it recorded (none if it changed nothing), `version` is the stream's after it, `position` that of
    its last event, or of the stream's last event if it recorded none.
    """

    stream: str
    version: int
    position: int
    events: tuple[Any, ...]


class Loaded(NamedTuple, Generic[S]):
    """An entity's state, folded from its events up to `version`; `position` is that of the last of them."""

    state: S
    version: int
    position: int

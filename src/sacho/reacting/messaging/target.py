"""Target: where a relay's messages go. A small protocol, so that anything may be one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from sacho.reacting.messaging.message import Message

Outcome: TypeAlias = BaseException | None
"""What became of a message: None if the target has it for sure, or the error."""


class Target(Protocol):
    """Takes messages to where they go.

    What it must keep, so that nothing is lost and each key keeps its order:

    - A message counts as sent (None) only once the other side has acknowledged it.
    - A key's next message goes once its former was acknowledged; behind one that failed, none of its key is sent. Only
      messages of different keys may be under way together.
    - The same message may come again, with the same id: after a crash, or since another one failed.

    Errors say what is to become of the message: `TargetUnreachable` waits, without end and without trying anything else;
    `MessageRefused` parks it at once; any other is tried again as the relay's `retry` says, then parked.
    """

    at_once: int
    """About how many messages it is to be given at once."""

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """Send messages; return for each, in order, None or the error that kept it from being sent.

        Called by the threads of several workers at a time. An error that is raised counts for all of them.
        """


def one_by_one(messages: Iterable[Message], send: Callable[[Message], object]) -> list[Outcome]:
    """Send messages one after the other by a function that raises where it fails: a `Target.send` in one line.

    Where one fails, the others of its key are not sent and come to the same.
    """
    outcomes: list[Outcome] = []
    failed: dict[str, BaseException] = {}
    for message in messages:
        error = failed.get(message.key)
        if error is None:
            try:
                send(message)
            except Exception as raised:
                error = failed[message.key] = raised
        outcomes.append(error)
    return outcomes


def lanes(messages: Iterable[Message]) -> list[list[int]]:
    """Return the places of messages by key: each lane goes one after the other, beside the others."""
    found: dict[str, list[int]] = {}
    for place, message in enumerate(messages):
        found.setdefault(message.subject, []).append(place)
    return list(found.values())


def filled(outcomes: list[Outcome], lane: Sequence[int], error: BaseException) -> None:
    """Note an error for what is left of a lane."""
    for place in lane:
        outcomes[place] = error

"""A lane: the commands that wait for one stream in one process, in order, worked on by one thread at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sacho.errors import RetriesExhausted

if TYPE_CHECKING:
    from sacho.deciding.outcome import Outcome
    from sacho.deciding.retry import Retry
    from sacho.deciding.round import Round

COMMANDS_PER_COMMIT: Final = 256

TellOutcome = Callable[["Outcome | BaseException"], "Callable[[], None] | None"]
"""Takes what became of a command; returns what is to be called once all that were committed together are told."""


class Waiting:
    """A command on its way, with what is needed to decide it anew."""

    __slots__ = ("command", "command_id", "conflicts", "is_done", "may_be_known", "metadata", "tell")

    def __init__(
        self, command: Any, command_id: str, may_be_known: bool, metadata: Mapping[str, Any], tell: TellOutcome
    ) -> None:
        self.command = command
        self.command_id = command_id
        self.may_be_known = may_be_known
        self.metadata = metadata
        self.tell = tell
        self.conflicts = 0
        self.is_done = False

    def again(self) -> Waiting:
        """Return the same command, to be looked for in the log before it is decided: its append may have happened."""
        self.may_be_known = True
        return self


class Lane:
    """The queue of one stream. Touched under the handler's lock, or by the one thread that works on it."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.waiting: deque[Waiting] = deque()

    def take(self) -> list[Waiting]:
        """Remove and return the first commands, as many as one commit takes."""
        return [self.waiting.popleft() for _ in range(min(len(self.waiting), COMMANDS_PER_COMMIT))]

    def take_all(self) -> list[Waiting]:
        """Remove and return all commands."""
        commands = list(self.waiting)
        self.waiting.clear()
        return commands

    def back(self, commands: Sequence[Waiting]) -> None:
        """Put commands back to the front, in their order."""
        self.waiting.extendleft(reversed(commands))

    def fail(self, commands: Sequence[Waiting], error: BaseException) -> None:
        """Tell those of the commands whose callers still wait that `error` stopped them."""
        _tell_all([(waiting, error) for waiting in commands if not waiting.is_done])

    def settle(self, one: Round[Any, Any, Any], retry: Retry) -> None:
        """Tell all whose command is done; put the rest back, and pause if there was a conflict."""
        lost = [waiting for waiting in one.again if waiting.conflicts >= retry.attempts]
        again = [waiting.again() for waiting in one.again if waiting.conflicts < retry.attempts]
        self.back(again)
        _tell_all([*one.results, *((waiting, RetriesExhausted(self.stream, waiting.conflicts)) for waiting in lost)])
        pause = retry.pause(max((waiting.conflicts for waiting in again), default=0))
        if pause:
            time.sleep(pause)


def _tell_all(results: Sequence[tuple[Waiting, Outcome | BaseException]]) -> None:
    flushes = set()
    for waiting, result in results:
        waiting.is_done = True
        if (flush := waiting.tell(result)) is not None:
            flushes.add(flush)
    for flush in flushes:
        flush()

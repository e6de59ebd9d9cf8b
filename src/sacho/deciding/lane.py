"""A lane: the commands that wait for one stream in one process, in order, worked on by one thread at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sacho.errors import RetriesExhausted

if TYPE_CHECKING:
    from sacho.deciding.outcome import Outcome
    from sacho.deciding.retry import Retry
    from sacho.deciding.round import Round

COMMANDS_PER_COMMIT: Final = 256


class Waiting:
    """A command on its way, with what is needed to decide it anew."""

    __slots__ = ("command", "command_id", "conflicts", "future", "may_be_known", "metadata")

    def __init__(
        self, command: Any, command_id: UUID | str, may_be_known: bool, metadata: Mapping[str, Any]
    ) -> None:
        self.command = command
        self.command_id = command_id
        self.may_be_known = may_be_known
        self.metadata = metadata
        self.conflicts = 0
        self.future: Future[Outcome] = Future()
        self.future.set_running_or_notify_cancel()

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

    def fail(self, commands: Sequence[Waiting], error: BaseException) -> None:
        """Tell those of the commands whose callers still wait that `error` stopped them."""
        for waiting in commands:
            if not waiting.future.done():
                waiting.future.set_exception(error)

    def back(self, commands: Sequence[Waiting]) -> None:
        """Put commands back to the front, in their order."""
        self.waiting.extendleft(reversed(commands))

    def settle(self, one: Round, retry: Retry) -> None:
        """Tell all whose command is done; put the rest back, and pause if there was a conflict."""
        for waiting, result in one.results:
            if isinstance(result, BaseException):
                waiting.future.set_exception(result)
            else:
                waiting.future.set_result(result)
        again = []
        for waiting in one.again:
            if waiting.conflicts >= retry.attempts:
                waiting.future.set_exception(RetriesExhausted(self.stream, waiting.conflicts))
            else:
                again.append(waiting.again())
        self.back(again)
        pause = retry.pause(max((waiting.conflicts for waiting in again), default=0))
        if pause:
            time.sleep(pause)

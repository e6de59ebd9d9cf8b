"""Taking: how a consumer takes events in. A plain one acts at once; a projection gathers, and writes with its checkpoint."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Sequence
from traceback import format_exception
from typing import Any, Protocol

import sqlalchemy as sa

from sacho.errors import LeaseLost
from sacho.events import RecordedEvent
from sacho.reacting.consumer import Consumer
from sacho.reacting.databases import is_passing, storable


class HandlerFailed(Exception):
    """A handler raised (its error is the cause). `recorded` is the event; those before it in the batch were taken."""

    def __init__(self, recorded: RecordedEvent) -> None:
        self.recorded = recorded
        super().__init__(f"position {recorded.position}")


class HandlerWaits(Exception):
    """A database that a plain consumer's handler uses does not answer (the cause says why): no fault of the event's."""

    def __init__(self, recorded: RecordedEvent, error: BaseException) -> None:
        self.recorded = recorded
        super().__init__(f"the handler of position {recorded.position} met {said(error)}")


class CommitFailed(Exception):
    """What was gathered could not be written (the cause says why), and not because the database was away."""


def failure(error: BaseException, recorded: RecordedEvent) -> BaseException:
    """Return what a taking is to raise for an error that came out of a handler: machinery's own errors are not the event's.

    A handler's thread gets no signal, so that KeyboardInterrupt, too, is its own doing.
    """
    if isinstance(error, HandlerFailed | CommitFailed | LeaseLost) or is_passing(error):
        return error
    failed = HandlerFailed(recorded)
    failed.__cause__ = error
    return failed


def said(error: BaseException) -> str:
    """Return an error in one line."""
    try:
        text = storable(str(error).strip().partition("\n")[0])
    except Exception:  # what it says of itself fails, too
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def traced(error: BaseException) -> str:
    """Return an error with its traceback."""
    return storable("".join(format_exception(error)))


class Commits(Protocol):
    """What a taking may ask of its worker in the middle of a batch."""

    def commit(self, position: int) -> None:
        """Write what was gathered, with the checkpoint at a position."""

    def begin(self) -> sa.Connection:
        """Begin the transaction that the next commit ends, sure of the leases."""

    def reading(self) -> Any:
        """Give a connection for reading, as a context manager."""


class Taking(Protocol):
    """What the worker drives."""

    acts_at_once: bool
    """Whether what was taken has happened, committed or not."""

    @property
    def size(self) -> int:
        """How many changes wait to be written."""

    def take(self, events: Sequence[RecordedEvent], *, is_replay: bool) -> None:
        """Handle events in order. Raises HandlerFailed."""

    def write(self, connection: sa.Connection) -> None:
        """Write what was gathered."""

    def committed(self) -> None:
        """Hear that what was written is there."""

    def discard(self) -> None:
        """Forget what was gathered and not written, and what was remembered of the tables."""


Loop = Callable[[], asyncio.AbstractEventLoop]


class Acting:
    """Takes events for a plain consumer: calls its methods, awaits those of asyncio in the loop."""

    acts_at_once = True
    size = 0

    def __init__(self, consumer: Consumer, loop: Loop) -> None:
        self._consumer = consumer
        self._loop = loop

    def take(self, events: Sequence[RecordedEvent], *, is_replay: bool) -> None:
        """Handle events in order."""
        for recorded in events:
            handler = self._consumer.handler(recorded.type)
            if handler is None:
                continue
            try:
                result = handler(recorded.event, self._consumer.delivery(recorded))
                if inspect.iscoroutine(result):
                    asyncio.run_coroutine_threadsafe(_contained(result), self._loop()).result()
            except BaseException as error:
                if is_passing(error):
                    raise HandlerWaits(recorded, error) from error
                raise failure(error, recorded) from error

    def write(self, connection: sa.Connection) -> None:
        """Write nothing: all has been done."""

    def committed(self) -> None:
        """Nothing waits for this."""

    def discard(self) -> None:
        """Nothing is gathered."""


async def _contained(handling: Coroutine[Any, Any, object]) -> None:
    """Await a handler; an error that would end the loop, and all that runs in it, comes as another one."""
    try:
        await handling
    except (KeyboardInterrupt, SystemExit) as error:
        raise RuntimeError(f"the handler raised {error!r}") from error

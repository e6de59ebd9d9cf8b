"""Taking: how a consumer takes events in. A plain one acts at once; a projection gathers, and writes with its checkpoint."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from traceback import format_exception
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import sqlalchemy as sa

from sacho.deciding import Retry
from sacho.errors import LeaseLost
from sacho.events import RecordedEvent
from sacho.reacting.databases import is_passing, storable
from sacho.reacting.pace import MOST_AT_ONCE, Slices

if TYPE_CHECKING:
    from sacho.deciding.bus import CommandBus
    from sacho.reacting.consumer import Consumer
    from sacho.store import EventStore


LONGEST_RETRY_AFTER: Final = 60.0
"""For how many seconds a worker rests at most because a target asks for it."""


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


def waiting_or_failure(error: BaseException, recorded: RecordedEvent) -> BaseException:
    """Return what a taking that acts at once is to raise: HandlerWaits where what it acts on does not answer."""
    return HandlerWaits(recorded, error) if is_passing(error) else failure(error, recorded)


def pause(retry: Retry, attempts: int, error: BaseException) -> float:
    """Return how many seconds to wait after so many attempts: as declared, and as long as the error asks for, within bounds."""
    asked = getattr(error, "retry_after", None) or 0.0
    return max(retry.pause(attempts + 1), min(asked, LONGEST_RETRY_AFTER))


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


class Taking:
    """What the worker drives."""

    acts_at_once = False
    """Whether what was taken has happened, committed or not, and cannot be taken back nor told apart from a second time."""

    def slices(self) -> Slices:
        """Return how many events it is to be given at once. Of effects that cannot be undone and fail alone, one."""
        return Slices(1 if self.acts_at_once else MOST_AT_ONCE)

    @property
    def size(self) -> int:
        """How many changes wait to be written."""
        return 0

    def take(self, events: Sequence[RecordedEvent], *, is_replay: bool) -> None:
        """Handle events in order. Raises HandlerFailed."""
        raise NotImplementedError(f"{type(self).__name__} has no take()")

    def tick(self) -> float | None:
        """Do what is due by the clock; return after how many seconds to ask again at the latest, None: when events come."""
        return None

    def write(self, connection: sa.Connection) -> None:
        """Write what was gathered."""

    def committed(self) -> None:
        """Hear that what was written is there."""

    def discard(self) -> None:
        """Forget what was gathered and not written, and what was remembered of the tables."""


Loop = Callable[[], asyncio.AbstractEventLoop]
Clock = Callable[[], datetime]
"""Returns the present, in UTC."""


def utc_now() -> datetime:
    """Return the present by this machine's clock."""
    return datetime.now(UTC)


class Surroundings(NamedTuple):
    """What an application gives to what reacts in it. `bus` is None where it routes no commands."""

    store: EventStore
    bus: CommandBus | None
    clock: Clock
    loop: Loop


class Acting(Taking):
    """Takes events for a plain consumer: calls its methods, awaits those of asyncio in the loop."""

    acts_at_once = True

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
                raise waiting_or_failure(error, recorded) from error


async def _contained(handling: Coroutine[Any, Any, object]) -> None:
    """Await a handler; an error that would end the loop, and all that runs in it, comes as another one."""
    try:
        await handling
    except (KeyboardInterrupt, SystemExit) as error:
        raise RuntimeError(f"the handler raised {error!r}") from error

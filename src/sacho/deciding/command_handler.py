"""CommandHandler: command in, events out. State from the cache and the log, decide, append with the version read.

Commands that wait for one stream are decided in turn on the state in memory, and their appends go into one commit, so
a rush on one entity is limited by the log and not by conflicts. Nobody hears before the commit.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import UUID

from sacho.deciding.decider import Decider
from sacho.deciding.lane import Lane, TellOutcome, Waiting
from sacho.deciding.outcome import Loaded, Outcome
from sacho.deciding.retry import Retry
from sacho.deciding.round import Round, is_interrupt
from sacho.deciding.state_cache import StateCache
from sacho.errors import SachoError, StoreClosed, StoreForked
from sacho.events.naming import checked_name
from sacho.storage.port import NO_BOUND
from sacho.storage.processes import same_process
from sacho.store import current_metadata, note_append
from sacho.store.event_store import check_range
from sacho.store.ids import new_id_text

if TYPE_CHECKING:
    from sacho.store import EventStore

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")

DEFAULT_CACHE_SIZE = 1_000

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class CommandHandler(Generic[C, S, E]):
    """Handles the commands of one kind of entity. Thread-safe; make one and keep it, its cache pays off."""

    def __init__(
        self,
        store: EventStore,
        decider: Decider[C, S, E],
        *,
        retry: Retry = Retry(),  # noqa: B008 - a frozen value
        cache_size: int = DEFAULT_CACHE_SIZE,
    ) -> None:
        self.store = store
        self.decider = decider
        self.retry = retry
        self._cache: StateCache[S] = StateCache(cache_size)
        self._lanes: dict[str, Lane] = {}
        self._lock = threading.Lock()
        self._is_same_process = same_process()

    def handle(self, stream: str, command: C, *, command_id: UUID | str | None = None, is_new: bool = False) -> Outcome:
        """Handle one command and return its outcome, once its events are durable.

        The same `command_id` again (on this stream) returns the first outcome; a command that recorded nothing is
        decided again. Say that it `is_new` where you have just made it, and it is not looked for first. Raises what `decide` raises, with nothing recorded; RetriesExhausted after too many conflicts; and
        what an append raises.
        """
        caller = _Caller()
        lane = self._enter(stream, command, command_id, caller.tell, is_new=is_new)
        if lane is not None:
            self._run(lane, caller)
        outcome = caller.outcome()
        note_append(outcome.position)
        return outcome

    def submit(
        self, stream: str, command: C, *, command_id: UUID | str | None = None, is_new: bool = False
    ) -> Future[Outcome]:
        """Begin to handle a command on the store's background threads; the future has its outcome or error."""
        future: Future[Outcome] = Future()
        future.set_running_or_notify_cancel()
        self.hand_in(stream, command, partial(_settle, future), command_id=command_id, is_new=is_new)
        return future

    def hand_in(
        self,
        stream: str,
        command: C,
        tell: TellOutcome,
        *,
        command_id: UUID | str | None = None,
        is_new: bool = False,
    ) -> None:
        """Like `submit`, for those who keep futures of their own: `tell` gets the outcome or error, by any thread."""
        lane = self._enter(stream, command, command_id, tell, is_new=is_new)
        if lane is not None:
            self._hand_over(lane)

    def load(self, stream: str, *, to: int | None = None) -> Loaded[S]:
        """Return the state folded from the stream's events, now or as of version `to`. Always a state of its own."""
        checked_name("stream id", stream)
        check_range(0, to, None)
        state, version, position = self.decider.initial, 0, 0
        decode = self.store.decoding(raw=False).events
        for rows in self.store.storage.read(stream, after=0, to=to, limit=None, backwards=False, head=NO_BOUND):
            state = self.decider.fold(state, decode(rows))
            position, version = rows[-1][0], rows[-1][2] or 0
        return Loaded(state, version, position)

    def cached_states(self) -> int:
        """Return how many states the cache holds."""
        return len(self._cache)

    def _enter(
        self, stream: str, command: C, command_id: UUID | str | None, tell: TellOutcome, *, is_new: bool
    ) -> Lane | None:
        """Let a command wait in its stream's lane; return the lane if nobody works on it yet."""
        if not self._is_same_process():
            raise StoreForked
        checked_name("stream id", stream)
        id = new_id_text() if command_id is None else one_form(command_id)
        waiting = Waiting(command, id, command_id is not None and not is_new, current_metadata(), tell)
        with self._lock:
            lane = self._lanes.get(stream)
            if lane is not None:
                lane.waiting.append(waiting)
                return None
            lane = self._lanes[stream] = Lane(stream)
            lane.waiting.append(waiting)
            return lane

    def _run(self, lane: Lane, until: _Caller | None) -> None:
        """Work on a lane, round after round, until it is empty; a caller's own thread only until its command is done."""
        batch: Sequence[Waiting] = ()
        try:
            while batch := self._next_batch(lane):
                self._round(lane, batch)
                batch = ()
                if until is not None and until.is_told:
                    break
        except BaseException as error:
            if is_interrupt(error):
                raise
            lane.fail(batch, error)
        finally:
            lane.back([waiting.again() for waiting in batch if not waiting.is_done])
            self._leave(lane)

    def _round(self, lane: Lane, batch: Sequence[Waiting]) -> None:
        one = Round(self.store, self.decider, lane.stream, batch)
        folded = one.run(self._cache.take(lane.stream))
        if folded is not None:
            self._cache.put(lane.stream, folded)
        lane.settle(one, self.retry)

    def _next_batch(self, lane: Lane) -> list[Waiting]:
        with self._lock:
            batch = lane.take()
            if not batch:
                del self._lanes[lane.stream]
            return batch

    def _leave(self, lane: Lane) -> None:
        """Give up a lane: it goes away if it is empty, and to the background threads if not."""
        with self._lock:
            if self._lanes.get(lane.stream) is not lane:
                return
            if not lane.waiting:
                del self._lanes[lane.stream]
                return
        self._hand_over(lane)

    def _hand_over(self, lane: Lane) -> None:
        """Have a background thread work on a lane; where there is none any more, all who wait are told."""
        try:
            self.store.background.submit(self._run, lane, None)
        except Exception as error:
            closed = error if isinstance(error, SachoError) else StoreClosed()
            with self._lock:
                del self._lanes[lane.stream]
                lane.fail(lane.take_all(), closed)


class _Caller:
    """Where a blocking caller waits for its outcome, if it does not work it out itself."""

    __slots__ = ("_lock", "_result", "is_told")

    def __init__(self) -> None:
        self.is_told = False
        self._result: Outcome | BaseException | None = None
        self._lock = threading.Lock()
        self._lock.acquire()

    def tell(self, result: Outcome | BaseException) -> None:
        self._result = result
        self.is_told = True
        self._lock.release()

    def outcome(self) -> Outcome:
        self._lock.acquire()
        result, self._result = self._result, None
        assert result is not None
        if isinstance(result, BaseException):
            raise result
        return result


def one_form(command_id: UUID | str) -> str:
    """Return the id of a command in one form: a UUID that was given as its text is the same id."""
    if isinstance(command_id, UUID):
        return str(command_id)
    text = checked_name("command id", command_id)
    if _UUID.fullmatch(text):
        return text
    with suppress(ValueError):
        return str(UUID(text))
    return text


def _settle(future: Future[Outcome], result: Outcome | BaseException) -> None:
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)

"""Group commit: whoever finds the writer free commits at once; those who wait are committed together by one thread.

An uncontended write pays no thread hop. Under contention the writes of all who wait go into one commit, each still
accepted or refused on its own.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from sacho.errors import InvalidInput, SachoError, StorageFailed, StoreClosed, StoreForked
from sacho.events import Appended, Write
from sacho.storage.port import Outcome, Tell
from sacho.storage.processes import same_process
from sacho.storage.statistics import CommitObserver, Counting
from sacho.storage.waking import Wake

MAX_WRITES_PER_COMMIT: Final = 512
"""How many waiting writes one commit takes in at most: it bounds how long the first of them waits for the last."""

RELAY_SECONDS: Final = 0.01
"""How long callers are left to wake each other while there is nothing to commit."""

Commit = Callable[[Sequence[Write]], list[Outcome]]


class _Ticket:
    """Writes that wait for their turn, and how to tell what became of them."""

    __slots__ = ("since", "tell", "writes")

    def __init__(self, writes: Sequence[Write], tell: Tell) -> None:
        self.writes = writes
        self.tell = tell
        self.since = time.monotonic()


class _Relay:
    """Wakes blocking callers one after the other: whoever wakes up wakes the next.

    Woken all at once they would fight for the interpreter's lock, and keep the committing thread from its next commit.
    """

    def __init__(self) -> None:
        self._asleep: deque[threading.Lock] = deque()

    def add(self, lock: threading.Lock) -> None:
        """Have the lock's waiter woken in its turn."""
        self._asleep.append(lock)

    def wake_next(self) -> None:
        """Wake one, if there is one. Each stays here until it is woken: between any two calls there may be a Ctrl-C."""
        asleep = self._asleep
        try:
            lock = asleep[0]
            lock.release()
            asleep.remove(lock)
        except (IndexError, ValueError):
            pass  # nobody is left, or another thread was faster
        except RuntimeError:
            with suppress(ValueError):
                asleep.remove(lock)  # it was woken, and its waker interrupted before this

    @property
    def is_at_work(self) -> bool:
        """Whether some are still to be woken."""
        return bool(self._asleep)

    def wake_all(self) -> None:
        """Wake all: those too whom an interrupted caller did not wake."""
        while self._asleep:
            self.wake_next()


class _Turnstile:
    """Where a blocking caller waits: a lock is the cheapest thing to wait for."""

    __slots__ = ("_lock", "_outcomes", "_relay")

    def __init__(self, relay: _Relay) -> None:
        self._relay = relay
        self._outcomes: list[Outcome] = []
        self._lock = threading.Lock()
        self._lock.acquire()

    def tell(self, outcomes: list[Outcome]) -> None:
        self._outcomes = outcomes
        self._relay.add(self._lock)

    def outcomes(self) -> list[Outcome]:
        try:
            self._lock.acquire()
        finally:
            self._relay.wake_next()
        return self._outcomes


class GroupCommit:
    """The way of all writes to one engine's `commit`, which is called by one thread at a time."""

    def __init__(self, commit: Commit, name: str, gather_seconds: float = 0.0) -> None:
        """`gather_seconds`: for how long callers who were told together are waited for, before the next commit."""
        self._commit = commit
        self._name = name
        self._gather_seconds = gather_seconds
        self._awaited = 0
        """How many tickets are waited for, while some are: then nobody goes alone."""
        self._gathered = Wake()
        self._is_same_process = same_process()
        self.turn = threading.Lock()
        """Held during a commit, and by others for short work beside commits. Taken by `with`, which no Ctrl-C can split."""
        self._gate = threading.Lock()
        self._relay = _Relay()
        self._waiting: SimpleQueue[_Ticket | None] = SimpleQueue()
        self._carried: _Ticket | None = None
        self._queued = 0
        """How many tickets wait, up to when their turn has come: a newcomer does not go before them."""
        self._thread: threading.Thread | None = None
        self._closed = False
        self._under_way: float | None = None
        self._committing = 0
        """The thread that commits just now; 0 where none does."""

    def write(self, writes: Sequence[Write]) -> list[Outcome]:
        """Commit the writes; return what became of each, in order. Raises what the commit itself raises."""
        if self.is_free:
            with self.turn:
                self.check()
                return self._run(writes, time.monotonic())
        turnstile = _Turnstile(self._relay)
        self._enqueue(_Ticket(writes, turnstile.tell))
        return turnstile.outcomes()

    @property
    def is_free(self) -> bool:
        """Whether nobody has the turn or waits for it: who takes it now will hardly wait."""
        return not self._queued and not self._awaited and not self.turn.locked()

    def hand_in(self, writes: Sequence[Write], tell: Tell) -> None:
        """Hand the writes to the committing thread, which will tell their outcomes; never blocks."""
        self._enqueue(_Ticket(writes, tell))

    def submit(self, write: Write) -> Future[list[Appended]]:
        """Hand the write to the committing thread; never blocks."""
        future: Future[list[Appended]] = Future()
        self.hand_in((write,), partial(settle, future))
        return future

    def oldest_seconds(self) -> float:
        """Return for how long the oldest write that is not done has waited; 0 if there is none."""
        since = self._under_way
        return 0.0 if since is None else time.monotonic() - since

    @property
    def is_foreign(self) -> bool:
        """Whether this process was forked from the one that opened the engine."""
        return not self._is_same_process()

    def check(self) -> None:
        """Raise StoreClosed or StoreForked where writes are no longer possible."""
        if not self._is_same_process():
            raise StoreForked
        if self._closed:
            raise StoreClosed

    def close(self) -> None:
        """Commit what waits, then refuse everything."""
        if self.is_foreign:
            return
        with self._gate:
            self._closed = True
            self._waiting.put(None)
            self._gathered.call()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        with self.turn:
            pass

    def _enqueue(self, ticket: _Ticket) -> None:
        self.check()
        if self._committing == threading.get_ident():
            raise InvalidInput(
                "an append within an append: an inline handler, or an observer of commits, appends to the log that just now "
                "commits for it, and would wait for itself; append in a consumer that is not inline"
            )
        with self._gate:
            self.check()
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name=f"sacho-{self._name}-commit", daemon=True)
                self._thread.start()
            self._queued += 1
            self._waiting.put(ticket)
            if self._awaited and self._queued >= self._awaited:
                self._gathered.call()

    def _serve(self) -> None:
        while (first := self._carried or self._next()) is not None:
            with self.turn:
                tickets = self._take(first)
                with self._gate:
                    self._queued -= len(tickets)
                outcomes = self._outcomes([write for ticket in tickets for write in ticket.writes], first.since)
            if len(tickets) > 1 and self._gather_seconds:
                self._awaited = len(tickets)
            self._tell(tickets, outcomes)
            self._relay.wake_next()
            if self._awaited:
                self._gather()
        self._relay.wake_all()

    def _gather(self) -> None:
        """Give those who were told a moment to come again, so that the next commit takes in all of them."""
        with self._gate:
            is_complete = self._closed or self._queued >= self._awaited
        if not is_complete:
            self._gathered.wait(self._gather_seconds)
        self._awaited = 0
        self._gathered.wait(0)  # a call that came too late

    def _next(self) -> _Ticket | None:
        """Wait for a ticket, or None at the end; wake those whom nobody wakes."""
        if self._relay.is_at_work:
            try:
                return self._waiting.get(timeout=RELAY_SECONDS)
            except Empty:
                self._relay.wake_all()
        return self._waiting.get()

    def _take(self, first: _Ticket) -> list[_Ticket]:
        """Return `first` and those behind it, as far as one commit has room; carry over the one that does not fit."""
        tickets, self._carried = [first], None
        room = MAX_WRITES_PER_COMMIT - len(first.writes)
        with suppress(Empty):
            while room > 0:
                ticket = self._waiting.get_nowait()
                if ticket is None:
                    self._waiting.put(None)
                    break
                if len(ticket.writes) > room:
                    self._carried = ticket
                    break
                tickets.append(ticket)
                room -= len(ticket.writes)
        return tickets

    def _outcomes(self, writes: Sequence[Write], since: float) -> list[Outcome]:
        try:
            return self._run(writes, since)
        except SachoError as error:
            return [error] * len(writes)
        except BaseException as error:
            failure = StorageFailed(f"{type(error).__name__}: {error}", may_have_happened=True)
            failure.__cause__ = error
            return [failure] * len(writes)

    def _run(self, writes: Sequence[Write], since: float) -> list[Outcome]:
        try:
            self._under_way, self._committing = since, threading.get_ident()
            return self._commit(writes)
        finally:
            self._under_way, self._committing = None, 0

    @staticmethod
    def _tell(tickets: Sequence[_Ticket], outcomes: list[Outcome]) -> None:
        start = 0
        for ticket in tickets:
            end = start + len(ticket.writes)
            ticket.tell(outcomes[start:end])
            start = end


def settle(future: Future[list[Appended]], outcomes: Sequence[Outcome]) -> None:
    """Give a future the result or error of its one write."""
    (outcome,) = outcomes
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(outcome, SachoError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


class WritesInGroups:
    """What an engine does of the port through its group commit."""

    _commits: GroupCommit
    _counting: Counting

    def write(self, write: Write) -> list[Appended]:
        """Append atomically and durably."""
        (outcome,) = self._commits.write((write,))
        if isinstance(outcome, SachoError):
            raise outcome
        return outcome

    def write_many(self, writes: Sequence[Write]) -> list[Outcome]:
        """Append each on its own, in this order, in one commit where they fit."""
        return self._commits.write(writes)

    def submit(self, write: Write) -> Future[list[Appended]]:
        """Append without waiting."""
        return self._commits.submit(write)

    def hand_in(self, writes: Sequence[Write], tell: Tell) -> None:
        """Append without waiting; `tell` gets the outcomes."""
        self._commits.hand_in(writes, tell)

    def observe(self, observer: CommitObserver) -> None:
        """Have every commit reported."""
        self._counting.observers.append(observer)

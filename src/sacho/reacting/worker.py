"""Worker: one consumer's build in one process. It reads on, hands events to be taken, and commits effect and checkpoint together.

Its thread holds leases on some partitions of the build. Whatever it commits, it commits only if the leases are still its
own. An event that cannot be handled is tried again, then parked, or stops its partition.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from sacho.deciding import Retry
from sacho.errors import LeaseLost, ReactingError, SachoError, StoreClosed, StoreForked
from sacho.events import Query, RawEvent, RecordedEvent
from sacho.reacting.bookkeeping import OF_ALL, Bookkeeping, Lease, Parked, lets_go_on, parked_row
from sacho.reacting.consumer import Consumer, partition_of
from sacho.reacting.databases import is_passing
from sacho.reacting.holding import Holding
from sacho.reacting.pace import Pace
from sacho.reacting.sifting import Sifting
from sacho.reacting.tables import Generation
from sacho.reacting.taking import CommitFailed, HandlerFailed, HandlerWaits, Taking, pause, said, traced
from sacho.reacting.transacting import OpenTransaction

if TYPE_CHECKING:
    from sacho.storage.port import Row
    from sacho.store import EventStore

logger = logging.getLogger("sacho.reacting")

MOST_EVENTS: Final = 1_000_000
"""How many events a batch has at most; mostly it ends before, by its changes or its time."""
MOST_SECONDS: Final = 1.0
"""For how long a batch is gathered at most, or for a quarter of a lease: so long it may be while one that is far behind moves."""
PAUSES: Final = Retry(attempts=2**31, first_pause=0.05, longest_pause=5.0)
"""How soon a database or log that does not answer is asked again."""
LAZY_SECONDS: Final = 1.0
"""For how long a checkpoint may lie behind when nothing concerned the consumer."""


class Worker:
    """Drives one build of a consumer. `run` is the body of its thread; the other methods may be called by any thread."""

    def __init__(
        self,
        store: EventStore,
        books: Bookkeeping,
        consumer: Consumer,
        generation: Generation,
        make_taking: Callable[[Worker], Taking],
        *,
        name: str,
        is_building: bool,
        seconds: float,
        moved: Callable[[Worker], None],
        caught_up: Callable[[Worker, int], None],
    ) -> None:
        self.consumer = consumer
        self.generation = generation
        self.name = name
        self.is_building = is_building
        self.takes_over = False
        self.holding = Holding(books, generation, name, consumer.partitions, seconds)
        self.error: str | None = None
        """What the worker last met and has not got over."""
        self._store = store
        self._books = books
        self._seconds = seconds
        self._moved = moved
        self._caught_up = caught_up
        self._query = consumer.events()
        self._saved_at = 0.0
        self._pace = Pace()
        self._limit = MOST_EVENTS
        self._bound: int | None = None
        self._handled = 0
        self._in_hand: Sequence[RecordedEvent] = ()
        self._counted = 0
        """How many of the events in hand are counted as handled already."""
        self._tried = (0, 0)
        """The position of the event that failed last, and how often it did."""
        self._sifting = Sifting(store, consumer)
        self._keyless: set[int] = set()
        """The positions of events in hand whose key cannot be told."""
        self._held_keys: set[str] = set()
        self._failed_keys = 0
        self._held_rows: list[dict[str, Any]] = []
        self._unparking: int | None = None
        """The position of the parked event that is handled again, until it is committed."""
        self._is_asked = False
        self._balance_due = True
        self._open = OpenTransaction(books.database)
        self._tick_in: float | None = None
        self._lock = threading.Lock()
        """Taken by `with`, which no Ctrl-C of whoever appends can split; the condition's own `with` can be."""
        self._wake = threading.Condition(self._lock)
        self._woken = True
        self._stopping = False
        self._gone = False
        self._taking = make_taking(self)
        self._slices = self._taking.slices()

    # --- for others -----------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """Whether it was lost, or died of something that it was not made for; another may begin in its place."""
        return self._gone

    def poke(self, *, balance: bool = False) -> None:
        """Have the worker look again; with `balance`, at its leases and at what is asked of it."""
        with self._lock:
            self._woken = True
            self._balance_due = self._balance_due or balance
            self._wake.notify_all()

    def stop(self) -> None:
        """Have the worker finish what it has in hand and end."""
        self._stopping = True
        self.poke()

    def lose(self) -> None:
        """Have the worker end, since its build is not to be run any more."""
        self._gone = True
        self.stop()

    def run(self) -> None:
        """Work until stopped."""
        try:
            self._work()
        except BaseException:
            logger.exception("%s: the worker ended; another begins in its place", self.generation)
            self._gone = True
        finally:
            self._end()

    def _work(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                worked = self._turn()
                failures, self.error = 0, None
            except (LeaseLost, StoreClosed, StoreForked) as error:
                self._forget()
                if not isinstance(error, LeaseLost):
                    return
                continue
            except Exception as error:
                failures += 1
                self._met(self._books.database.told(error))
                self._rest(PAUSES.pause(failures + 1))
                continue
            if not worked:
                self._wait()

    # --- what a taking asks (see taking.Commits) ------------------------------------------------------

    def commit(self, position: int) -> None:
        """Write what was gathered, with the checkpoints at a position, if the leases still hold."""
        self._count(position)
        leases = self.holding.active()
        is_idle = not (self._taking.size or self._handled or self._held_rows or self._open.is_open or self._unparking)
        if is_idle and not self.is_building and time.monotonic() - self._saved_at < LAZY_SECONDS:
            self.holding.passed = max(self.holding.passed, position)
            self._moved(self)
            return
        self._pace.note(self._handled, max(0, position - min((lease.position for lease in leases), default=position)))
        try:
            connection = self._open.connection()
            self._books.advance(connection, self.generation, leases, position, self._handled, self._pace, self._seconds)
            if self._unparking is not None:
                self._books.unpark(connection, self.generation, self._unparking)
            self._taking.write(connection)
            held = [row for row in self._held_rows if row["position"] <= position]
            self._books.park(connection, self.generation, held)
            self._open.end(None)
        except BaseException as error:
            self._open.end(error)
            if isinstance(error, ReactingError) or is_passing(error) or not isinstance(error, Exception):
                raise
            raise CommitFailed from error
        self._held_rows = [row for row in self._held_rows if row["position"] > position]
        self._handled, self._unparking = 0, None
        self._saved_at = time.monotonic()
        self._taking.committed()
        self._reached(leases, position)

    def begin(self) -> sa.Connection:
        """Begin the transaction that the next commit ends, sure of the leases."""
        is_new = not self._open.is_open
        connection = self._open.connection()
        if is_new:
            self._books.hold(connection, self.generation, self.holding.active())
        return connection

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """Give a connection for reading: within the open transaction, if there is one."""
        return self._open.reading()

    # --- a turn ---------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Do what there is to do now; return whether there may be more."""
        with self._lock:
            self._woken = False
            is_due, self._balance_due = self._balance_due, False
        if is_due:
            self._balance()
        if self._is_asked:
            self._is_asked = False
            self._do_as_asked()
        active = self.holding.active()
        if not active:
            return False
        head, low = self._store.head(), self.holding.low()
        self._tick(low)
        if head <= low:
            if is_due:
                self.commit(low)
            self._caught_up(self, head)
            return False
        try:
            self._batch(low, head if self._bound is None else min(head, self._bound))
            if self.is_building:
                self._caught_up(self, head)
        except HandlerFailed as failed:
            self._split_at(failed)
        except CommitFailed as failed:
            self._split_in_two(failed)
        except HandlerWaits as waits:
            self.commit(waits.recorded.position - 1)  # what was done before it is not to be done again each time
            raise
        return True

    def _tick(self, low: int) -> None:
        """Let what is due by the clock be done, where that is this worker's."""
        if not self.is_building:
            self._tick_in = self._taking.tick()
            if self._taking.size:
                self.commit(low)

    def _batch(self, low: int, to: int) -> None:
        """Take events after `low`, as many as a batch may have, and commit."""
        if to <= low:
            self._bound = None
            return
        ends, count = time.monotonic() + min(MOST_SECONDS, self._seconds / 4), 0
        limit = self._limit if self._limit < MOST_EVENTS else None
        for rows in self._store.storage.read_all(self._query, after=low, to=to, limit=limit, backwards=False):
            events = self._ours(rows)
            taken = self._take_until(events, ends)
            count += len(rows)
            if taken < len(events):
                to = events[taken].position - 1
                self._held_rows = [row for row in self._held_rows if row["position"] <= to]
                break
            if count >= self._limit or self._is_over(ends):
                to = rows[-1][0]
                break
        self.commit(to)
        if self._bound is not None and to >= self._bound:
            self._bound = None
        self._limit = min(MOST_EVENTS, self._limit * 2)

    def _take_until(self, events: Sequence[RecordedEvent], ends: float) -> int:
        """Take events in slices, at least one, until all are taken or the batch is over; return how many were."""
        place = 0
        while place < len(events):
            self._in_hand, self._counted = events[place : place + self._slices.size], 0
            with self._slices.timed():
                self._take(self._in_hand)
            self._count(self._in_hand[-1].position)
            place += len(self._in_hand)
            self._in_hand = ()
            if self._is_over(ends):
                break
        return place

    def _is_over(self, ends: float) -> bool:
        """Tell whether a batch has taken as much, or as long, as it may."""
        return self._stopping or self._taking.size >= self._books.database.changes_at_once or time.monotonic() > ends

    def _count(self, position: int) -> None:
        """Count as handled what is in hand up to a position."""
        upto = bisect_right(self._in_hand, position, lo=self._counted, key=attrgetter("position"))
        self._handled += upto - self._counted
        self._counted = upto

    def _ours(self, rows: Sequence[Row]) -> list[RecordedEvent]:
        """Return the events of the partitions held here that are not done yet; keep those back whose key is parked."""
        events = self._sifting.events(rows)
        count = self.consumer.partitions
        if count == 1 and not self._held_keys:
            lease = self.holding.leases[0]
            return (
                events
                if not events or events[0].position > lease.position
                else [one for one in events if one.position > lease.position]
            )
        key, leases, ours = self._sifting.key, self.holding.leases, []
        for recorded in events:
            name = key(recorded)
            if name is None:  # it may be any partition's, so that all of them come to it
                if any(lease.position < recorded.position for lease in self.holding.active()):
                    self._keyless.add(recorded.position)
                    ours.append(recorded)
                continue
            partition = partition_of(name, count)
            held = leases.get(partition)
            if held is None or held.stopped_at is not None or recorded.position <= held.position:
                continue
            if name in self._held_keys:
                self._held_rows.append(parked_row(recorded, partition, name))
            else:
                ours.append(recorded)
        return ours

    def _take(self, events: Sequence[RecordedEvent]) -> None:
        """Have events taken, up to the first that could not be decoded or told the key of, which fails. Raises HandlerFailed."""
        keyless = self._keyless
        broken = next(
            (place for place, one in enumerate(events) if isinstance(one.event, RawEvent) or one.position in keyless),
            None,
        )
        self._taking.take(events[:broken], is_replay=self.is_building)
        if broken is not None:
            raise self._sifting.failed(events[broken])

    # --- events that fail -----------------------------------------------------------------------------

    def _split_at(self, failed: HandlerFailed) -> None:
        """Commit what stands before an event that failed, then see to the event alone."""
        position, cause = failed.recorded.position, failed.__cause__ or failed
        if self._taking.acts_at_once:
            self.commit(position - 1)
        self._tried = (position, self._times_tried(position) + 1)
        self._restart()
        if self.holding.low() < position - 1:
            self._bound = position - 1
            return
        self._insist(failed.recorded, cause)

    def _times_tried(self, position: int) -> int:
        return self._tried[1] if self._tried[0] == position else 0

    def _split_in_two(self, failed: CommitFailed) -> None:
        """Go through a batch again in smaller parts, until the event is alone that cannot be written."""
        count = max(self._handled, 1)
        self._restart()
        if count > 1 and self._limit > 1:
            self._limit = max(1, min(count, self._limit) // 2)
            return
        for rows in self._store.storage.read_all(
            self._query, after=self.holding.low(), to=self._store.head(), limit=1, backwards=False
        ):
            events = self._ours(rows)
            if events:
                self._insist(events[0])
            else:
                self.commit(rows[-1][0])

    def _insist(self, recorded: RecordedEvent, error: BaseException | None = None) -> None:
        """Try one event again and again (it failed with `error` just now, if at all); then park it, or stop."""
        retry, attempts = self.consumer.retry, self._times_tried(recorded.position)
        while True:
            if error is not None:
                if attempts >= retry.attempts or getattr(error, "is_final", False):
                    break
                logger.warning("%s: position %d failed: %s", self.generation, recorded.position, said(error))
                self._rest(pause(retry, attempts, error))
                if self._stopping:
                    return
            attempts += 1
            try:
                self._alone(recorded)
                return
            except (HandlerFailed, CommitFailed) as failed:
                error = failed.__cause__ or failed
                self._restart()
        self._give_up(recorded, error, attempts)

    def _alone(self, recorded: RecordedEvent) -> None:
        """Handle one event and commit it."""
        self._in_hand, self._counted = self._sifting.events(self._store.storage.find([recorded.stored_id])), 0
        if self.consumer.partitions > 1 or self._held_keys:
            self._keyless.update(one.position for one in self._in_hand if self._sifting.key(one) is None)
        self._take(self._in_hand)
        self.commit(recorded.position)
        self._in_hand = ()

    def _give_up(self, recorded: RecordedEvent, error: BaseException, attempts: int) -> None:
        """Park an event if its key is independent of others and there is room; else stop its partition there.

        One whose key cannot be told stops all partitions: what comes behind it may be of its key.
        """
        name, leases = self._sifting.key(recorded), self.holding.active()
        partition = OF_ALL if name is None else partition_of(name, self.consumer.partitions)
        reason, trace = said(error), traced(error)
        is_room = self._failed_keys < self.consumer.most_parked
        may_park = self.consumer.independent_keys and is_room and name is not None
        if self.consumer.independent_keys and not is_room:
            reason = f"{self._failed_keys} events are parked, and no more may be (most_parked); the next failed with {reason}"
        row = parked_row(recorded, partition, name or recorded.stream or str(recorded.id))
        reached = recorded.position if may_park else recorded.position - 1
        ends = [] if may_park else [one for one in leases if partition in {one.partition, OF_ALL}]
        stopped = [one for one in ends if one.position < recorded.position]
        with self._books.database.writing() as connection:
            self._books.advance(connection, self.generation, leases, reached, 0)
            self._books.park_failed(connection, self.generation, row, reason, trace, attempts)
            for one in stopped:
                self._books.stop(connection, self.generation, one.partition, recorded.position, reason)
        logger.error(
            "%s: %s at position %d: %s", self.generation, "parked" if may_park else "stopped", recorded.position, reason
        )
        self._reached(leases, reached)
        if may_park:
            self._held_keys.add(row["key"])
            self._failed_keys += 1
        for one in stopped:
            self.holding.change(self.holding.leases[one.partition]._replace(stopped_at=recorded.position))
        self._moved(self)

    def _do_as_asked(self) -> None:
        """Try parked events again, or drop them, as somebody has asked; also those that wait behind none that failed.

        Such are left by a worker that was killed on its way through a key.
        """
        rows = self._parked_rows()
        asked = [row for row in rows if row.action]
        for held in list(self.holding.leases.values()):
            if any(held.stopped_at is not None and lets_go_on(row, held) for row in asked):
                self._go_on(held, rows)
        keys: dict[str, list[Parked]] = {}
        for row in self._parked_rows():  # anew: the events that partitions stopped at are no longer parked
            lease = self.holding.leases.get(row.partition)
            if lease is not None and lease.stopped_at is None:
                keys.setdefault(row.key, []).append(row)
        for of_key in keys.values():
            if any(row.action for row in of_key) or not any(row.error for row in of_key):
                self._do_key(of_key)
        with self._books.database.reading() as connection:
            self._learn_parked(connection)

    def _parked_rows(self) -> list[Parked]:
        with self._books.database.reading() as connection:
            return self._books.parked(connection, self.generation)

    def _do_key(self, rows: Sequence[Parked]) -> None:
        """Go through the parked events of one key, in order, until one fails again."""
        lease = self.holding.leases[rows[0].partition]
        for row in rows:
            if row.action != "drop" and not self._unpark(row, lease):
                return
            if row.action == "drop":
                with self._books.database.writing() as connection:
                    self._books.hold(connection, self.generation, [lease])
                    self._books.unpark(connection, self.generation, row.position)

    def _unpark(self, row: Parked, lease: Lease) -> bool:
        """Handle a parked event, and take it out of those parked as it is committed; return whether it succeeded.

        Its partition has not stopped, so that the commit makes sure of its lease.
        """
        pages = self._store.storage.read_all(Query(), after=row.position - 1, to=row.position, limit=1, backwards=False)
        self._unparking = row.position
        try:
            self._in_hand, self._counted = [one for rows in pages for one in self._sifting.events(rows)], 0
            self._take(self._in_hand)
            self._count(row.position)
            self.commit(self.holding.low())
        except (HandlerFailed, CommitFailed) as failed:
            error = failed.__cause__ or failed
            self._restart()
            with self._books.database.writing() as connection:
                self._books.hold(connection, self.generation, [lease])
                self._books.failed_again(connection, self.generation, row.position, said(error), traced(error))
            return False
        self._in_hand = ()
        return True

    def _go_on(self, lease: Lease, rows: Sequence[Parked]) -> None:
        """Let a partition that stopped go on: with the event it stopped at, or behind it."""
        position = lease.stopped_at or 0
        is_dropped = any(row.action == "drop" and row.position == position for row in rows)
        with self._books.database.writing() as connection:
            self._books.advance(connection, self.generation, [lease], position if is_dropped else 0, 0)
            self._books.stop(connection, self.generation, lease.partition, None, None)
            self._books.unpark_passed(connection, self.generation, position)
        moved = max(lease.position, position) if is_dropped else lease.position
        self.holding.change(lease._replace(stopped_at=None, position=moved))

    # --- parts ----------------------------------------------------------------------------------------

    def _balance(self) -> None:
        """Take or give back partitions, so that each worker that lives has its share; see what is asked."""
        with self._books.database.writing() as connection:
            gone, come = self.holding.balance(connection)
            self._learn_parked(connection)
        if come:
            self._restart()
        self.holding.changed(gone, come)
        if any(lease.stopped_at is not None for lease in come):
            self._moved(self)

    def _learn_parked(self, connection: sa.Connection) -> None:
        keys, failed, is_asked = self._books.parked_keys(connection, self.generation)
        self._held_keys = keys if self.consumer.independent_keys else set()
        self._failed_keys, self._is_asked = failed, is_asked

    def _reached(self, leases: Sequence[Lease], position: int) -> None:
        """Note in memory how far all is done, and tell those who wait."""
        self.holding.reached(leases, position)
        self._moved(self)

    def _restart(self) -> None:
        """Forget what was gathered since the last commit: it will be read again."""
        self._open.end(GeneratorExit())
        self._taking.discard()
        self._held_rows.clear()
        self._keyless.clear()
        self._handled = self._counted = 0
        self._in_hand = ()
        self._unparking = None

    def _forget(self) -> None:
        """Forget all that belonged to leases which are lost."""
        self._restart()
        self.holding.clear()
        self._bound = None
        self._balance_due = True

    def _met(self, error: Exception) -> None:
        """Note an error that is nobody's event's: a log or a database that does not answer."""
        reason = said(error)
        if reason != self.error:
            log = logger.warning if isinstance(error, SachoError | HandlerWaits) else logger.exception
            log("%s waits: %s", self.generation, reason)
        self.error = reason
        try:
            self._restart()
        except Exception:
            logger.exception("%s: a connection could not be given back", self.generation)
        self._balance_due = True
        self.holding.clear()
        self._moved(self)

    def _wait(self) -> None:
        """Wait until somebody calls; not for long where others are about to give partitions back."""
        is_short = self.holding.is_short
        longest = self._seconds / (32 if is_short else 4)
        with self._lock:
            if not self._woken and not self._stopping:
                self._wake.wait(longest if self._tick_in is None else min(longest, self._tick_in))
                self._balance_due = self._balance_due or is_short

    def _rest(self, seconds: float) -> None:
        """Wait so long, whoever calls, unless the worker is to end."""
        with self._lock:
            self._wake.wait_for(lambda: self._stopping, seconds)

    def _end(self) -> None:
        """Give the leases back."""
        try:
            self._restart()
            with self._books.database.writing() as connection:
                self.holding.give_back(connection)
        except Exception as error:
            logger.warning("%s could not give its leases back, they will run out: %s", self.generation, said(error))
        self.holding.clear()

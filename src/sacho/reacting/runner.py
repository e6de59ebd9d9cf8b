"""Runner: the one thing that drives all that reacts. A thread for each consumer, and one that keeps their leases alive."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import sqlalchemy as sa

from sacho.errors import ConsumerStopped, ReactingError
from sacho.reacting.bookkeeping import Bookkeeping, GenerationRow, PartitionRow, lets_go_on
from sacho.reacting.building import NEAR_SECONDS, Builder, version_of
from sacho.reacting.consumer import Consumer
from sacho.reacting.projection import Projection, is_inline
from sacho.reacting.tables import IN_THE_MAKING, SERVING, SWITCHING, Generation
from sacho.reacting.taking import Clock, Surroundings, Taking, utc_now
from sacho.reacting.worker import Worker

if TYPE_CHECKING:
    from sacho.deciding.bus import CommandBus
    from sacho.store import EventStore

logger = logging.getLogger("sacho.reacting")

LEASE_SECONDS: Final = 4.0
"""After how long without a sign of life a worker's partitions go to others."""


class Runner:
    """Runs consumers in threads of this process, beside any number of other processes that run them, too."""

    def __init__(
        self,
        store: EventStore,
        books: Bookkeeping,
        consumers: Sequence[Consumer],
        *,
        lease_seconds: float = LEASE_SECONDS,
        moved: Callable[[Worker], None],
        bus: CommandBus | None = None,
        clock: Clock = utc_now,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        """What this runner is called where it holds leases."""
        self._store = store
        self._books = books
        self._builders = [Builder(store, books, consumer) for consumer in consumers]
        self._seconds = lease_seconds
        self._moved = moved
        self._bus = bus
        self._clock = clock
        self._loop = loop
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._workers: dict[Generation, tuple[Worker, threading.Thread]] = {}
        self._leaving: list[threading.Thread] = []
        self._goals: dict[Generation, tuple[int, float]] = {}
        """What builds have to come to, and since when that is asked of them."""
        self._left_to_others: set[Generation] = set()
        self._is_ending = False
        self._stopped = threading.Event()
        self._beating: threading.Thread | None = None
        self._lock = threading.Lock()
        self._loop_lock = threading.Lock()
        self._unlisten: Callable[[], None] = lambda: None

    @property
    def workers(self) -> list[Worker]:
        """The workers that are at work here."""
        return [worker for worker, _ in list(self._workers.values())]

    def start(self) -> None:
        """Enter the consumers and begin to work. Raises ProjectionChanged, ForeignCheckpoint, CheckpointAhead and the like."""
        for builder in self._builders:
            builder.enter()
        self._unlisten = self._store.feed.listen(self._risen)
        self._look()
        self._beating = threading.Thread(target=self._beat, name="sacho-runner", daemon=True)
        self._beating.start()

    def stop(self) -> None:
        """Let each consumer finish the batch it has in hand and give its leases back; then end.

        However long that takes, leases are kept alive: nobody else is to begin what is not ended.
        """
        self._unlisten()
        with self._lock:
            self._is_ending = True
            ending = [*self._leaving, *(thread for _, thread in self._workers.values() if thread.ident is not None)]
            for worker in self.workers:
                worker.stop()
        for thread in ending:
            thread.join()
        self._stopped.set()
        if self._beating is not None:
            self._beating.join()
        self._workers.clear()
        if self._own_loop is not None:
            self._own_loop.call_soon_threadsafe(self._own_loop.stop)
            self._own_loop = None

    def wait_until(self, position: int, stopping: threading.Event) -> None:
        """Wait until all that is run has come to a position, whoever does it. Raises ConsumerStopped where that cannot be."""
        pause = 0.005
        while not stopping.wait(pause):
            pause = min(pause * 1.5, 0.25)
            if self._have_reached(position):
                return

    def _have_reached(self, position: int) -> bool:
        stopped: list[tuple[Generation, PartitionRow]] = []
        is_done = True
        with self._books.database.reading() as connection:
            for row in self._rows(connection):
                worker = self._workers.get(row.generation, (None, None))[0]
                parked = self._books.parked(connection, row.generation)
                asked = [one for one in parked if one.action]
                for one in self._books.partitions(connection, row.generation):
                    here = None if worker is None else worker.holding.done(one.partition)
                    if one.stopped_at is not None and not any(lets_go_on(row, one) for row in asked):
                        stopped.append((row.generation, one))
                    elif max(one.position, here or 0) < position:
                        is_done = False
                if self._takes_over(row):
                    is_done = is_done and bool(stopped or parked)
        if is_done and stopped:
            generation, one = stopped[0]
            raise ConsumerStopped(str(generation), one.stopped_at or 0, one.error or "")
        return is_done

    # --- parts ----------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Keep leases alive, see who else works, and which builds are to be run."""
        told = ""
        while not self._stopped.wait(self._seconds / 4):
            try:
                self._look()
                told = ""
            except Exception as error:
                if told != str(error):  # once, not with each beat
                    logger.warning("the runner could not look after its leases: %s", error)
                told = str(error)

    def _look(self) -> None:
        with self._lock:
            if self._is_ending:
                self._keep()
                return
            with self._books.database.reading() as connection:
                wanted = {row.generation: row for row in self._rows(connection) if self._fits(connection, row)}
            for generation, (worker, thread) in list(self._workers.items()):
                if generation not in wanted:
                    worker.lose()  # whatever it has in hand: nobody waits for it but the end
                if generation not in wanted or worker.has_ended:
                    self._leaving = [one for one in [*self._leaving, thread] if one.is_alive()]
                    del self._workers[generation]
            for generation, row in wanted.items():
                if generation not in self._workers:
                    self._workers[generation] = self._begin(row)
            if not self._workers:
                return
            shares = {}
            with self._books.database.writing() as connection:
                for generation in sorted(self._workers):  # in one order everywhere, so that no two wait for each other
                    shares[generation] = self._books.see(connection, generation, self.name, self._seconds)
            for generation, (worker, thread) in self._workers.items():
                worker.holding.place, worker.holding.workers_alive = shares[generation]
                worker.is_building = wanted[generation].state in IN_THE_MAKING
                worker.takes_over = self._takes_over(wanted[generation])
                worker.poke(balance=True)
                if thread.ident is None:
                    thread.start()

    def _keep(self) -> None:
        """Keep alive the leases of workers that finish what they have in hand."""
        with self._books.database.writing() as connection:
            for generation, (_, thread) in self._workers.items():
                if thread.is_alive():
                    self._books.keep(connection, generation, self.name, self._seconds)

    def _rows(self, connection: sa.Connection) -> list[GenerationRow]:
        """Return the builds that this process can and should run: those that serve or are being built."""
        found = []
        log = (str(self._store.identity.id), self._store.identity.epoch)
        for builder in self._builders:
            consumer = builder.consumer
            found += [
                row
                for row in self._books.generations(connection, consumer.name)
                if row.generation.version == version_of(consumer)
                and row.state in _run_states(consumer)
                and (row.log_id, row.epoch) == log
            ]
        return found

    def _fits(self, connection: sa.Connection, row: GenerationRow) -> bool:
        """Tell whether a build is dealt among as many partitions as the consumer has here; if not, it is left to others.

        Where there are none any more, as after a deployment in which a process of the old code began last, it is dealt anew.
        """
        builder, generation = self._builder(row.generation), row.generation
        if row.partitions == builder.consumer.partitions:
            self._left_to_others.discard(generation)
            return True
        if generation not in self._left_to_others:
            self._left_to_others.add(generation)
            logger.warning(
                "%s has %d partitions now, and %d here: it is left to the processes of that number",
                generation,
                row.partitions,
                builder.consumer.partitions,
            )
        elif not self._books.has_workers(connection, generation, self._seconds):
            try:
                builder.enter()
            except ReactingError as error:
                logger.warning("%s is left alone: %s", generation, error)
        return False

    def _builder(self, generation: Generation) -> Builder:
        return next(
            builder
            for builder in self._builders
            if (builder.consumer.name, version_of(builder.consumer)) == (generation.name, generation.version)
        )

    def _takes_over(self, row: GenerationRow) -> bool:
        """Tell whether a build is one in the making that takes over once it has caught up."""
        consumer = self._builder(row.generation).consumer
        is_automatic = isinstance(consumer, Projection) and consumer.takes_over == "automatic"
        return row.state == SWITCHING or (row.state in IN_THE_MAKING and is_automatic)

    def _begin(self, row: GenerationRow) -> tuple[Worker, threading.Thread]:
        builder = self._builder(row.generation)
        consumer = builder.consumer
        if isinstance(consumer, Projection):
            consumer = consumer.bound(row.generation, self._books.database.dialect)
        worker = Worker(
            self._store,
            self._books,
            consumer,
            row.generation,
            self._taking,
            name=self.name,
            is_building=row.state in IN_THE_MAKING,
            seconds=self._seconds,
            moved=self._moved,
            caught_up=self._caught_up,
        )
        thread = threading.Thread(target=worker.run, name=f"sacho-{row.generation}", daemon=True)
        return worker, thread

    def _taking(self, worker: Worker) -> Taking:
        return worker.consumer.taking(worker, Surroundings(self._store, self._bus, self._clock, self._given_loop))

    def _caught_up(self, worker: Worker, head: int) -> None:
        """Let a build take over that has come near the log's head, unless it waits to be told to."""
        if worker.is_building and worker.takes_over and worker.holding.leases:
            goal, is_new = self._goal(worker.generation, head)
            rest = max(self._seconds, 3 * NEAR_SECONDS)
            may_be = is_new or worker.holding.has_reached(goal)
            if may_be and self._builder(worker.generation).take_over(worker.generation, goal, rest):
                worker.is_building = False
                if is_inline(worker.consumer):
                    worker.lose()
                self._let_others_rest(worker)
                logger.info("%s serves now", worker.generation)
        self._moved(worker)

    def _goal(self, generation: Generation, head: int) -> tuple[int, bool]:
        """Return the head that a build has to have come to, and whether that is new.

        It is the head of a moment ago, so that several workers may meet there while writers go on.
        """
        now = time.monotonic()
        goal, since = self._goals.get(generation, (0, -math.inf))
        if is_new := now - since > NEAR_SECONDS / 2:
            goal, _ = self._goals[generation] = head, now
        return goal, is_new

    def _let_others_rest(self, worker: Worker) -> None:
        """See to it that builds which served before one of them do not say any more how far the view is."""
        for other in self.workers:
            if other is not worker and other.generation.name == worker.generation.name and not other.is_building:
                other.lose()

    def _risen(self, head: int) -> None:
        for worker in self.workers:
            worker.poke()

    def _given_loop(self) -> asyncio.AbstractEventLoop:
        """Return the application's loop, or one of the runner's own in a thread."""
        if self._loop is not None:
            return self._loop
        with self._loop_lock:
            if self._own_loop is None:
                self._own_loop = asyncio.new_event_loop()
                threading.Thread(target=_run_loop, args=(self._own_loop,), name="sacho-loop", daemon=True).start()
            return self._own_loop


def _run_states(consumer: Consumer) -> frozenset[str]:
    """Return in which states a build is run by the runner: an inline one is written by the appends once it serves."""
    return IN_THE_MAKING if is_inline(consumer) else IN_THE_MAKING | {SERVING}


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        with suppress(Exception):
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

"""Running: one simulation, step by step. All that is random in it comes from one seed, and nothing waits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context, copy_context
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol

from sacho.deciding.envelope import Origin
from sacho.errors import InvalidConsumer, SachoError
from sacho.events import Query, RecordedEvent
from sacho.reacting import Consumer, ProcessManager, Projection
from sacho.reacting.agenda import Agenda
from sacho.reacting.databases import is_passing
from sacho.reacting.sending import Commands
from sacho.reacting.taking import HandlerFailed, HandlerWaits
from sacho.schema import Encoding
from sacho.store.connecting import memory_storage
from sacho.store.ids import new_id_text
from sacho.testing.simulation.calendar import Calendar
from sacho.testing.simulation.calling import Actor, Call, Callers
from sacho.testing.simulation.chances import Chances
from sacho.testing.simulation.counts import Counts
from sacho.testing.simulation.delivering import Deliveries
from sacho.testing.simulation.inline import InlineStore
from sacho.testing.simulation.mishaps import Crash, Mishap, When, with_mishaps
from sacho.testing.simulation.trace import Trace
from sacho.testing.simulation.workers import Parts, Worker

if TYPE_CHECKING:
    from sacho.storage.port import Row

MOST_BACK: Final = 3_600.0
"""By how many seconds a clock is set back at most."""
RACE_TRIES: Final = 3


class Source(Protocol):
    """Where steps come from."""

    name: str
    weight: float

    def has_work(self) -> bool:
        """Tell whether there is something to do now."""
        ...

    def step(self, but: Worker | None = None) -> bool:
        """Do something, by another worker than `but`; return whether it did."""
        ...

    def restart(self, worker: Worker) -> None:
        """Hear that a worker begins again, with nothing in memory."""
        ...


class Run:
    """One simulation: the log, the workers, the time, and the dice that decide what happens next."""

    def __init__(self, seed: int | str, encoding: Encoding, chances: Chances, start: datetime) -> None:
        self.dice = Random(f"{seed} dice")
        self.ids = Random(f"{seed} ids")
        self.chances = chances.weather(self.dice)
        self.now = self.start = start
        self.counts = Counts()
        self.trace = Trace(start)
        self.events: list[RecordedEvent] = []
        self.parked: list[str] = []
        self.store = InlineStore(with_mishaps(memory_storage(self.clock_ns), self._mishap), encoding)
        self.callers = Callers(self)
        self.calendar = Calendar(self)
        self._sources: list[Source] = [self.callers, self.calendar]
        self._workers: list[Worker] = []
        self._by_type: dict[str, list[tuple[Any, Query]]] = {}
        self._of_any: list[tuple[Any, Query]] = []
        self._acting: Worker | None = None
        self._busy: Worker | None = None
        """The worker that is about to write, while another one does something."""
        self._spared: set[str] = set()
        """The names of workers whose next write goes well, since their last did not."""
        self._context: Context = copy_context()
        self._is_restarted = False

    def begin(self) -> None:
        """Let all that happens from now on have the surroundings of this call."""
        self._context = copy_context()

    # --- what there is --------------------------------------------------------------------------------

    def set_up(self, parts: Parts) -> None:
        """Let an application be what runs. Raises InvalidConsumer."""
        if self._workers:
            raise InvalidConsumer("the application", "is set up already")
        self._workers = [Worker(f"w{number + 1}", self, parts) for number in range(self.dice.choice((2, 2, 3)))]
        self._add(self.calendar, self.calendar.query)
        managers = [one for one in parts.consumers if isinstance(one, ProcessManager)]
        for consumer in [*parts.consumers, Commands(managers)]:
            if not isinstance(consumer, Projection | Agenda):
                deliveries = Deliveries(self, consumer)
                self._sources.append(deliveries)
                self._add(deliveries, deliveries.query)

    def any_worker(self) -> Worker:
        """Return one of the workers that have nothing in hand."""
        if not self._workers:
            raise InvalidConsumer("the application", "is missing; say world.application(consumers=[...], routes=[...])")
        found = self.dice.choice(self._workers)
        while found is self._busy:
            found = self.dice.choice(self._workers)
        return found

    def happens(self, chance: float) -> bool:
        """Throw the dice."""
        return chance > 0 and self.dice.random() < chance

    def note(self, text: str, *values: object) -> None:
        """Add a line to the trace."""
        self.trace.note(self.now, text, *values)

    # --- steps ----------------------------------------------------------------------------------------

    def step(self, horizon: datetime) -> bool:
        """Do one thing; return whether there was anything to do before a time."""
        self.counts.steps += 1
        if self.happens(self.chances.clock):
            self._set_back()
        if self.happens(self.chances.time):
            self._pass_time(horizon)
        if not any(source.has_work() for source in self._sources):
            return self._jump(horizon) or self._restart_all()
        self._pick().step()
        self.spread()
        return True

    def attempt(self, worker: Worker, work: Callable[[], object]) -> BaseException | None:
        """Let a worker do something; return the error that came of it. Afterwards it may be dead.

        Errors of the simulated application come back; others are raised.
        """
        before, self._acting = self._acting, worker
        try:
            self._context.copy().run(work)
        except Crash as error:
            return error
        except (HandlerFailed, HandlerWaits, SachoError) as error:
            return error
        finally:
            self._acting = before
        return None

    def outside(self, work: Callable[[], object]) -> None:
        """Let something happen that is no worker's."""
        before, self._acting = self._acting, None
        try:
            self._context.copy().run(work)
        finally:
            self._acting = before

    def is_passing(self, error: BaseException) -> bool:
        """Tell whether an error says that the log gave no answer."""
        return isinstance(error, HandlerWaits) or is_passing(error)

    def restart(self, worker: Worker) -> None:
        """Let a worker that died begin again."""
        worker.begin()
        for source in self._sources:
            source.restart(worker)

    def spread(self) -> None:
        """Hand what is new in the log to whom it concerns."""
        storage, after = self.store.storage, len(self.events)
        head = storage.head()
        if head == after:
            return
        rows: list[Row] = [
            row for page in storage.read_all(Query(), after=after, to=head, limit=None, backwards=False) for row in page
        ]
        for row, recorded in zip(rows, self.store.decoding(raw=False).page(rows), strict=True):
            self.events.append(recorded)
            self.note("    {}: {} in {}", row[0], row[3], row[1])
            for source, query in self._by_type.get(row[3], self._of_any):
                if query.matches(row[3], recorded.tags, row[1]):
                    source.offer(row, recorded)
        self.counts.events = len(self.events)

    def call_of(
        self,
        command: Any,
        *,
        id: str | None = None,
        origin: Origin = "caller",
        actor: Actor | None = None,
        at: datetime | None = None,
    ) -> Call:
        """Return the call that hands a command to the bus, to be handled or stored for a time."""
        command_id = id or new_id_text()
        if at is None:
            return Call(command, lambda bus: bus.handle(command, command_id=command_id, origin=origin), actor)
        return Call(command, lambda bus: bus.store(command, at=at, command_id=command_id, origin=origin), actor)

    # --- parts ----------------------------------------------------------------------------------------

    def _add(self, source: Any, query: Query) -> None:
        """Let a source be offered what a query finds."""
        if query.is_everything or any(not item.types for item in query.items):
            self._of_any.append((source, query))
            for known in self._by_type.values():
                known.append((source, query))
            return
        for type in dict.fromkeys(type for item in query.items for type in item.types):
            self._by_type.setdefault(type, list(self._of_any)).append((source, query))

    def _pick(self) -> Source:
        able = [source for source in self._sources if source.has_work()]
        left = self.dice.random() * sum(source.weight for source in able)
        for source in able:
            left -= source.weight
            if left <= 0:
                return source
        return able[-1]

    def _mishap(self) -> tuple[Mishap, When] | None:
        """Say what is to go wrong with the write that the worker is about to make."""
        worker = self._acting
        if worker is None:
            return None
        if worker.is_dead:
            return "crash", "before"
        if self._busy is None and self.happens(self.chances.race):
            self._race(worker)
        if worker.name in self._spared:
            self._spared.discard(worker.name)
            return None
        when: When = self.dice.choice(("before", "amid", "after"))
        if self.happens(self.chances.crash):
            self.note("{} dies, {} its write", worker, when)
            self.counts.crashes += 1
            worker.is_dead = True
            self._spared.add(worker.name)
            return "crash", when
        if self.happens(self.chances.unreachable):
            self.note("{} hears nothing of the log, {} its write", worker, when)
            self.counts.unreachable += 1
            self._spared.add(worker.name)
            return "unreachable", when
        return None

    def _race(self, worker: Worker) -> None:
        """Let another worker do something between what this one has read and what it is about to write."""
        self._busy = worker
        try:
            for _ in range(RACE_TRIES):
                able = [source for source in self._sources if source.has_work()]
                if able and self.dice.choice(able).step(but=worker):
                    self.counts.races += 1
                    self.note("    that was between what {} has read and its write", worker)
                    return
        finally:
            self._busy = None

    def clock_ns(self) -> int:
        """Return nanoseconds since 1970, by the clock of who writes."""
        now = self.now if self._acting is None else self._acting.clock()
        return round(now.timestamp() * 1_000_000) * 1_000

    def _set_back(self) -> None:
        worker = self.any_worker()
        worker.behind = timedelta(seconds=round(self.dice.uniform(0, MOST_BACK), 3))
        self.counts.set_back += 1
        self.note("the clock of {} is set back by {}", worker, worker.behind)

    def _pass_time(self, horizon: datetime) -> None:
        """Let some time pass, or all until the next thing."""
        due = self._next_at()
        passed = timedelta(seconds=round(self.dice.expovariate(1 / self.dice.choice((0.1, 10.0, 300.0))), 3))
        if due is not None and due > self.now and self.dice.random() < 0.3:
            passed = due - self.now
        self.now = max(self.now, min(self.now + passed, horizon))

    def _jump(self, horizon: datetime) -> bool:
        """Go to when the next thing is to happen."""
        due = self._next_at()
        if due is None or due > horizon:
            return False
        self.now = max(self.now, due)
        return True

    def _next_at(self) -> datetime | None:
        moments = [moment for moment in (self.callers.next_at(), self.calendar.next_at()) if moment is not None]
        return min(moments, default=None)

    def _restart_all(self) -> bool:
        """At the end, let all workers begin once more, if something goes wrong here at all; return whether they did."""
        if self._is_restarted or not self.chances.again:
            return False
        self._is_restarted = True
        self.note("all is quiet; all workers begin again")
        for worker in self._workers:
            self.restart(worker)
        return True


def consumers_of(given: Iterable[Consumer | type[Consumer]]) -> Sequence[Consumer]:
    """Return consumers as objects. Raises InvalidConsumer for one that cannot be simulated."""
    found = [one() if isinstance(one, type) else one for one in given]
    for consumer in found:
        for handler in consumer.handlers.values():
            if inspect.iscoroutinefunction(getattr(consumer, handler.method)):
                raise InvalidConsumer(
                    consumer.name, f"{handler.method} is `async`, and cannot be simulated: a loop has a will of its own"
                )
    return found

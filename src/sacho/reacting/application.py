"""Application: a store, the consumers that react to it, and where their views live; run, asked and looked after in one place."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import sqlalchemy as sa

from sacho.deciding.bus import CommandBus
from sacho.errors import ConsumerStopped, DuplicateConsumer, InvalidConsumer, KeyParked, UnknownConsumer, ViewNotReady
from sacho.reacting.administration import Administration
from sacho.reacting.agenda import Agenda
from sacho.reacting.bookkeeping import Bookkeeping
from sacho.reacting.building import class_of, is_written_by_appends
from sacho.reacting.consumer import Consumer, Named, first_concerning
from sacho.reacting.databases import ViewDatabase, storable
from sacho.reacting.declaring import EVERY
from sacho.reacting.documents import DocumentView
from sacho.reacting.inline import attach
from sacho.reacting.processes.process_manager import ProcessManager
from sacho.reacting.projection import Projection, is_inline
from sacho.reacting.runner import LEASE_SECONDS, Runner
from sacho.reacting.sending import Commands
from sacho.reacting.tables import SERVING, Generation
from sacho.reacting.taking import Clock, utc_now
from sacho.reacting.viewing import DocumentReader, View
from sacho.reacting.worker import Worker
from sacho.store import connect

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sacho.deciding.chain import Authorise, Step
    from sacho.deciding.routing import Route
    from sacho.schema import Registry
    from sacho.store import EventStore

D = TypeVar("D")
T = TypeVar("T")

FIRST_PAUSE: Final = 0.002
LONGEST_PAUSE: Final = 0.05


class Application:
    """What an application is made of on the read side: `Application("sqlite:///conference.db", consumers=[SeatsView])`.

    `store` is the URL of the event store, or one that is open; `views` the URL of the database of the views, beside the
    log if left out. `consumers` are classes, or objects of them. Use it as a context manager, or `close()` it.

    `routes` say who handles which commands: then there is a `bus`, commands may be stored for later, and process managers
    among the consumers may send them; `authorise` and `steps` are the bus's. `clock` tells the present, in UTC, to what is
    due at a time.

    Raises InvalidConsumer, DuplicateConsumer, DuplicateRoute; what `connect` raises.
    """

    def __init__(
        self,
        store: str | EventStore,
        *,
        consumers: Iterable[Consumer | type[Consumer]] = (),
        routes: Iterable[Route] = (),
        authorise: Authorise | None = None,
        steps: Iterable[Step] = (),
        views: str | None = None,
        clock: Clock = utc_now,
        registry: Registry | None = None,
        require: Iterable[str] = (),
    ) -> None:
        routes = tuple(routes)
        self.consumers = _checked(_with_own(_checked(consumers), routes))
        """The consumers, in order; last those of Sacho itself, where commands are routed."""
        self.clock = clock
        self._owns_store = isinstance(store, str)
        self.store = connect(store, registry=registry, require=require) if isinstance(store, str) else store
        with ExitStack() as opened:
            if self._owns_store:
                opened.callback(self.store.close)
            for consumer in self.consumers:
                _check_types(consumer, self.store)
            self.views = ViewDatabase.open(views, self.store)
            opened.callback(self.views.close)
            attach(
                self.store,
                self.views,
                [one for one in self.consumers if isinstance(one, Projection) and is_inline(one)],
            )
            opened.pop_all()
        self._bus = CommandBus(self.store, routes, authorise=authorise, steps=steps) if routes else None
        self._books = Bookkeeping(self.views)
        self._is_prepared = False
        self._runners: list[Runner] = []
        self._lock = threading.Lock()
        """Taken by `with`, which no Ctrl-C can split; the condition's own `with` can be."""
        self._moved = threading.Condition(self._lock)

    @property
    def bus(self) -> CommandBus:
        """The command bus, by the routes that were given. Raises InvalidConsumer where there were none."""
        if self._bus is None:
            raise InvalidConsumer("the application", "routes no commands; give it routes=[route(...)]")
        return self._bus

    # --- running --------------------------------------------------------------------------------------

    @contextmanager
    def running(
        self, *, lease_seconds: float = LEASE_SECONDS, loop: asyncio.AbstractEventLoop | None = None
    ) -> Iterator[Runner]:
        """Run the consumers in the background for the length of a block; at its end the batches in hand are finished.

        After `lease_seconds` without a sign of life a worker's partitions go to others. A batch lasts up to a quarter of it;
        below one, a busy machine or a slow commit may take as long.

        Raises ProjectionChanged, ForeignCheckpoint, CheckpointAhead, PartitionsDiffer, ViewsUnreachable before it begins.
        """
        self.prepare()
        runner = Runner(
            self.store,
            self._books,
            self.consumers,
            lease_seconds=lease_seconds,
            moved=self._told,
            bus=self._bus,
            clock=self.clock,
            loop=loop,
        )
        self._runners.append(runner)
        try:
            runner.start()
            yield runner
        finally:
            self._runners.remove(runner)
            runner.stop()

    @asynccontextmanager
    async def running_async(self, *, lease_seconds: float = LEASE_SECONDS) -> AsyncIterator[Runner]:
        """Run the consumers beside an event loop: the lifespan of a web application. Handlers that are `async` run in it."""
        context = self.running(lease_seconds=lease_seconds, loop=asyncio.get_running_loop())
        runner = await asyncio.to_thread(context.__enter__)
        try:
            yield runner
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)

    def run(self, *, once: bool = False, stopping: threading.Event | None = None) -> None:
        """Run the consumers until `stopping` is set; with `once`, until all have come to the log's head as it is now.

        Raises ConsumerStopped where, with `once`, one stopped before.
        """
        ends = stopping or threading.Event()
        with self.running() as runner:
            if once:
                runner.wait_until(self.store.head(), ends)
            else:
                ends.wait()

    def prepare(self) -> None:
        """Make the consumers' own tables where they are missing. Done by all that needs them."""
        if not self._is_prepared:
            self._books.make_tables()
            self._is_prepared = True

    # --- reading --------------------------------------------------------------------------------------

    @overload
    def reading(self, projection: type[DocumentView[D]]) -> AbstractContextManager[DocumentReader[D]]: ...

    @overload
    def reading(self, projection: type[Projection] | Projection) -> AbstractContextManager[View]: ...

    def reading(self, projection: Any) -> AbstractContextManager[Any]:
        """Give a projection's view as it is at one moment, in a `with` block: a `View`, of documents a `DocumentReader`.

        Raises ViewNotReady while it is built for the first time, InvalidConsumer for what is no projection.
        """
        kind = projection if isinstance(projection, type) else type(projection)
        if not issubclass(kind, Projection):
            raise InvalidConsumer(repr(projection), "is no projection, nor an object of one, so it has no view to read")
        return self._reading(projection)

    async def read_async(self, projection: type[Projection] | Projection, read: Callable[[Any], T]) -> T:
        """Return what a function reads of a projection's view, without holding up the event loop.

        `order = await app.read_async(Orders, lambda view: view.get("1"))`
        """

        def work() -> T:
            with self.reading(projection) as view:
                return read(view)

        return await asyncio.to_thread(work)

    @contextmanager
    def _reading(self, projection: type[Projection] | Projection) -> Iterator[View]:
        self.prepare()
        name, head = projection.name, self.store.head()
        kind = projection if isinstance(projection, type) else type(projection)
        with self.views.reading() as connection:
            self._hold_views(connection, projection)
            serving = self._books.serving(connection, name)
            if serving is None:
                rows = self._books.generations(connection, name)
                last = self._books.partitions(connection, rows[-1].generation) if rows else []
                raise ViewNotReady(name, min((one.position for one in last), default=0), self.store.head())
            position = min(one.position for one in self._books.partitions(connection, serving))
            if is_written_by_appends(self.store, self.consumers, serving):
                position = max(position, head)
            if issubclass(kind, DocumentView):
                yield DocumentReader(connection, position, serving, kind)
            else:
                yield View(connection, position, serving)

    def wait_for(self, consumer: Named, position: int, timeout: float = 1.0, *, key: str | None = None) -> bool:
        """Wait until a consumer has handled all up to a position; return whether it did within `timeout` seconds.

        Also true when nothing in between concerns it. Raises ConsumerStopped, or KeyParked where the event at the position
        (or `key`) waits behind one that could not be handled.
        """
        found, key = self.consumer(consumer), None if key is None else storable(key)
        self.prepare()
        ends, pause = time.monotonic() + timeout, FIRST_PAUSE
        while not self._has_reached(found, position, key):
            left = ends - time.monotonic()
            if left <= 0:
                return False
            with self._lock:
                self._moved.wait(min(left, pause))
            pause = min(pause * 1.5, LONGEST_PAUSE)
        self._check_parked(found, position, key)
        return True

    async def wait_for_async(
        self,
        consumer: Named,
        position: int,
        timeout: float = 1.0,  # noqa: ASYNC109 - as in the blocking API
        *,
        key: str | None = None,
    ) -> bool:
        """Wait like `wait_for`, without holding up the event loop."""
        return await asyncio.to_thread(self.wait_for, consumer, position, timeout, key=key)

    def consumer(self, consumer: Named) -> Consumer:
        """Return the consumer of a name or class, the newest version of it. Raises UnknownConsumer."""
        name = consumer if isinstance(consumer, str) else consumer.name
        version = None if isinstance(consumer, str) else consumer.version
        found = [one for one in self.consumers if one.name == name and version in (None, one.version)]
        if not found:
            raise UnknownConsumer(f"consumer {name!r}", [one.name for one in self.consumers])
        return max(found, key=lambda one: one.version)

    @property
    def administration(self) -> Administration:
        """What one asks of consumers and does to them: status, rebuild, switch, parked events."""
        self.prepare()
        return Administration(self.store, self._books, self.consumers, self.consumer)

    def close(self) -> None:
        """End what still runs; close the views' database, and the store if it was opened here."""
        for runner in tuple(self._runners):
            runner.stop()
        self.views.close()
        if self._owns_store:
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- parts ----------------------------------------------------------------------------------------

    def _hold_views(self, connection: sa.Connection, projection: type[Projection] | Projection) -> None:
        """See to it that the SQL views stay those that the transaction sees in the tables: PostgreSQL finds names afresh."""
        if self.views.dialect != "postgresql":
            return
        quote = connection.dialect.identifier_preparer.quote
        with suppress(sa.exc.ProgrammingError):  # there are none: nothing serves yet
            for table in projection.tables.values():
                with connection.begin_nested():
                    connection.exec_driver_sql(f"LOCK TABLE {quote(table.name)} IN ACCESS SHARE MODE")

    def _told(self, worker: Worker) -> None:
        with self._lock:
            self._moved.notify_all()

    def _has_reached(self, consumer: Consumer, position: int, key: str | None) -> bool:
        for worker in [worker for runner in self._runners for worker in runner.workers]:
            if worker.generation.name == consumer.name and not worker.is_building:
                here = [worker.holding.done(number) for number in range(worker.consumer.partitions)]
                if all(one is not None and one >= position for one in here):
                    return True
        with self.views.reading() as connection:
            builds = self._books.generations(connection, consumer.name)
            if not builds:
                return False
            serving = next((row.generation for row in builds if row.state == SERVING), None)
            if serving is not None and is_written_by_appends(self.store, self.consumers, serving):
                return True
            generation = serving or builds[-1].generation
            partitions = self._books.partitions(connection, generation)
        for one in partitions:
            if one.stopped_at is not None and one.stopped_at <= position:
                raise ConsumerStopped(str(generation), one.stopped_at, one.error or "")
        if serving is None:
            return False
        reached = min(one.position for one in partitions)
        return reached >= position or self._concerns_nothing(serving, reached, position)

    def _concerns_nothing(self, serving: Generation, after: int, to: int) -> bool:
        """Tell whether the log has nothing for a build in a range, as far as the log can be read."""
        if self.store.head() < to:
            return False
        return first_concerning(self.store.storage, class_of(self.consumers, serving), after, to) is None

    def _check_parked(self, consumer: Consumer, position: int, key: str | None) -> None:
        """Raise KeyParked if what was waited for lies among the parked events."""
        with self.views.reading() as connection:
            serving = self._books.serving(connection, consumer.name)
            if serving is None:
                return
            asked = {"position": position} if key is None else {"key": key}
            ours = [row for row in self._books.parked(connection, serving, **asked) if row.position <= position]
            rows = self._books.parked(connection, serving, key=ours[0].key) if ours else []
        if ours:
            first = next((row for row in rows if row.error), ours[0])
            raise KeyParked(consumer.name, first.key, first.position, first.error or "")


def _with_own(consumers: Sequence[Consumer], routes: Sequence[Route]) -> Sequence[Consumer]:
    """Return the consumers with those that send commands and call what is due. Raises InvalidConsumer."""
    managers = [one for one in consumers if isinstance(one, ProcessManager)]
    owners: dict[str, ProcessManager[Any]] = {}
    for one in managers:
        if (other := owners.setdefault(one.category, one)) is not one:
            raise DuplicateConsumer(f"the category {one.category!r}", _shown(other), _shown(one))
    if managers and not routes:
        raise InvalidConsumer(
            type(managers[0]).__qualname__,
            "sends commands, and the application routes none; give it routes=[route(...)]",
        )
    return [*consumers, Commands(managers), Agenda()] if routes else consumers


def _made(cls: type[Consumer]) -> Consumer:
    try:
        inspect.signature(cls).bind()
    except TypeError as error:  # a relay lacks its target
        raise InvalidConsumer(cls.__qualname__, f"{error}; hand over an object of the class") from error
    return cls()


def _checked(consumers: Iterable[Consumer | type[Consumer]]) -> Sequence[Consumer]:
    """Return the consumers as objects. Raises InvalidConsumer or DuplicateConsumer."""
    found: list[Consumer] = []
    tables: dict[str, Consumer] = {}
    for one in consumers:
        consumer = _made(one) if isinstance(one, type) and issubclass(one, Consumer) else one
        if not isinstance(consumer, Consumer):
            raise InvalidConsumer(repr(one), "is no Consumer or Projection, nor an object of one")
        for other in found:
            if other.name == consumer.name and (
                other.version == consumer.version
                or not (isinstance(consumer, Projection) and isinstance(other, Projection))
            ):
                raise DuplicateConsumer(f"the name {consumer.name!r}", _shown(other), _shown(consumer))
        for table in getattr(consumer, "tables", {}).values():
            owner = tables.setdefault(table.name, consumer)
            if owner.name != consumer.name:
                raise DuplicateConsumer(f"the table {table.name!r}", _shown(owner), _shown(consumer))
        found.append(consumer)
    return tuple(found)


def _check_types(consumer: Consumer, store: EventStore) -> None:
    """Raise InvalidConsumer for a handler of a type that the store knows no class for."""
    unknown = [type for type in consumer.handlers if type != EVERY and store.encoding.registry.find(type) is None]
    if unknown:
        raise InvalidConsumer(
            _shown(consumer),
            f"handles {unknown[0]!r}, a type that no class stands for; import the module that declares it, or mend the name",
        )


def _shown(consumer: Consumer) -> str:
    return type(consumer).__qualname__

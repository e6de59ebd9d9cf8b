"""How processes stand: which run, have ended or are stuck, what one of them waits for and has done; and to retry one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import sqlalchemy as sa

from sacho.errors import UnknownConsumer
from sacho.events import ProcessAdvanced, RecordedEvent
from sacho.reacting.agenda import Agenda
from sacho.reacting.bookkeeping import Bookkeeping, Parked
from sacho.reacting.processes.advancing import load_process
from sacho.reacting.processes.process_manager import ProcessManager
from sacho.reacting.sending import Commands

if TYPE_CHECKING:
    from sacho.reacting.consumer import Consumer
    from sacho.store import EventStore

Standing: TypeAlias = Literal["running", "done", "stuck"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ProcessStatus(NamedTuple):
    """How a process stands. `stuck` says why an event or command of it is parked, None if none is; times are in UTC."""

    process: str
    key: str
    stream: str
    version: int
    is_done: bool
    next_due: datetime | None
    last_input: str
    began_at: datetime
    advanced_at: datetime
    stuck: str | None

    @property
    def standing(self) -> Standing:
        """Whether it is stuck, else whether it is done or runs."""
        return "stuck" if self.stuck else "done" if self.is_done else "running"


class ProcessDetail(NamedTuple):
    """A process as its stream says: its state, the deadlines it waits for, its steps in order; and what of it is parked."""

    process: str
    key: str
    stream: str
    state: Any
    is_done: bool
    deadlines: dict[str, datetime]
    steps: list[RecordedEvent]
    parked: list[Parked]


class Processes:
    """What is asked of processes and done to them. Kinds are named by the process manager's name or class."""

    def __init__(
        self,
        store: EventStore,
        books: Bookkeeping,
        consumers: Sequence[Consumer],
        ask: Callable[[str, Sequence[int]], None],
    ) -> None:
        self._store = store
        self._books = books
        self._managers = {one.name: one for one in consumers if isinstance(one, ProcessManager)}
        self._ask = ask

    def find(
        self,
        process: str | type[ProcessManager[Any]] | None = None,
        *,
        only: Standing | None = None,
        idle_for: timedelta | None = None,
        now: datetime | None = None,
        limit: int = 100,
    ) -> list[ProcessStatus]:
        """Return processes, of one kind or all, those that took a step longest ago first.

        `only` those that run, are done or stuck; `idle_for` those that took no step for so long, up to `now`. A process that
        is stuck before its first step is among them, too.
        """
        with self._books.database.reading() as connection:
            stuck = self._stuck(connection, self._names(process))
            rows = self._rows(connection, process, only, stuck, limit)
        before = None if idle_for is None else (now or datetime.now(UTC)) - idle_for
        found = [_status(row, stuck.pop((row.process, row.key), None)) for row in rows]
        if only in {None, "stuck"}:
            found += [self._unborn(name, key, parked) for (name, key), parked in stuck.items()]
        return [one for one in found if before is None or one.advanced_at <= before][:limit]

    def show(self, process: str | type[ProcessManager[Any]], key: str) -> ProcessDetail:
        """Return one process. Raises UnknownConsumer for a kind that there is not, or a process of which nothing is known."""
        manager = self._manager(process)
        stream = manager.stream_of(key)
        last = load_process(self._store, stream).last
        with self._books.database.reading() as connection:
            parked = self._parked(connection, manager, key)
        if last is None and not parked:
            raise UnknownConsumer(f"process {key!r} of {manager.name}", [])
        deadlines = {name: one.due_at for name, one in last.deadlines.items()} if last else {}
        steps = [one for one in self._store.read(stream) if isinstance(one.event, ProcessAdvanced)]
        return ProcessDetail(
            manager.name,
            key,
            stream,
            last.state if last else None,
            bool(last and last.is_done),
            deadlines,
            steps,
            parked,
        )

    def retry(self, process: str | type[ProcessManager[Any]], key: str) -> int:
        """Ask that what is parked of a process be tried again, by whoever runs it; return how many events and commands failed.

        Raises UnknownConsumer as `show`.
        """
        manager = self._manager(process)
        with self._books.database.reading() as connection:
            parked = self._parked(connection, manager, key)
        if not parked and load_process(self._store, manager.stream_of(key)).last is None:
            raise UnknownConsumer(f"process {key!r} of {manager.name}", [])
        failed = [one for one in parked if one.error]
        for consumer in {one.consumer for one in failed}:
            self._ask(consumer, [one.position for one in failed if one.consumer == consumer])
        return len(failed)

    # --- parts ----------------------------------------------------------------------------------------

    def _manager(self, process: str | type[ProcessManager[Any]]) -> ProcessManager[Any]:
        name = process if isinstance(process, str) else process.name
        if name not in self._managers:
            raise UnknownConsumer(f"process manager {name!r}", sorted(self._managers))
        return self._managers[name]

    def _names(self, process: str | type[ProcessManager[Any]] | None) -> Iterable[str]:
        return list(self._managers) if process is None else [self._manager(process).name]

    def _rows(
        self,
        connection: sa.Connection,
        process: str | type[ProcessManager[Any]] | None,
        only: Standing | None,
        stuck: dict[tuple[str, str], str],
        limit: int,
    ) -> Sequence[Any]:
        serving = self._books.serving(connection, Agenda.name)
        if serving is None:
            return []
        table = Agenda.physical_tables(serving)["processes"]
        c = table.c
        found = sa.select(table).where(c.process.in_(self._names(process)))
        if only == "stuck":
            found = found.where(sa.tuple_(c.process, c.key).in_(list(stuck) or [("", "")]))
        elif only is not None:
            found = found.where(c.is_done.is_(only == "done"))
        return connection.execute(found.order_by(c.advanced_at, c.process, c.key).limit(limit)).all()

    def _stuck(self, connection: sa.Connection, names: Iterable[str]) -> dict[tuple[str, str], str]:
        """Return why processes are stuck, by kind and key."""
        sending = self._books.serving(connection, Commands.name)
        commands = [row for row in self._books.parked(connection, sending) if row.error] if sending else []
        found: dict[tuple[str, str], str] = {}
        for name in names:
            manager = self._managers[name]
            prefix = f"{manager.category}-"
            found |= {
                (name, row.key.removeprefix(prefix)): row.error or "" for row in commands if row.key.startswith(prefix)
            }
            serving = self._books.serving(connection, name)
            rows = self._books.parked(connection, serving) if serving else []
            found |= {(name, row.key): row.error for row in rows if row.error}
        return found

    def _parked(self, connection: sa.Connection, manager: ProcessManager[Any], key: str) -> list[Parked]:
        """Return what is parked of a process: events that it could not take, and commands that could not be handled."""
        found: list[Parked] = []
        for name, of in ((manager.name, key), (Commands.name, manager.stream_of(key))):
            serving = self._books.serving(connection, name)
            found += self._books.parked(connection, serving, key=of) if serving else []
        return found

    def _unborn(self, name: str, key: str, reason: str) -> ProcessStatus:
        """Return a process that could not take its first step."""
        stream = self._managers[name].stream_of(key)
        return ProcessStatus(name, key, stream, 0, False, None, "", _EPOCH, _EPOCH, reason)


def _status(row: Any, stuck: str | None) -> ProcessStatus:
    return ProcessStatus(
        row.process,
        row.key,
        row.stream,
        row.version,
        bool(row.is_done),
        None if row.next_due is None else _moment(row.next_due),
        row.last_input,
        _moment(row.began_at),
        _moment(row.advanced_at),
        stuck,
    )


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)

"""The agenda: all that is due at a time, deadlines of processes and commands for later, as a view of the log.

When the time comes, the log is told by an event of its own (DeadlinePassed, CommandDue) under an id that stays the same, so
that what is due happens once, however often and by whichever worker it is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa

from sacho.errors import DuplicateEventId, InvalidConsumer, SachoError, WrongExpectedVersion
from sacho.events import (
    ANY,
    NO_STREAM,
    CommandDue,
    CommandStored,
    CommandWithdrawn,
    DeadlinePassed,
    EventData,
    ExpectedVersion,
    ProcessAdvanced,
    RecordedEvent,
    command_stream,
    deadline_stream,
)
from sacho.events.builtin import DEADLINE_CATEGORY
from sacho.reacting.changes import Changes
from sacho.reacting.declaring import handles
from sacho.reacting.projection import Projection
from sacho.reacting.taking import Commits, Surroundings, Taking
from sacho.store.ids import derived_id

AT_ONCE: Final = 500
"""How many are called in one commit."""
LONGEST_WAIT: Final = 0.25
"""For how many seconds the clock is trusted to go on as it did."""
DEADLINE: Final = "deadline"
"""How the names of pending deadlines begin."""
_MICROSECONDS: Final = 1_000_000
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Due(NamedTuple):
    """Something that is due: the event that tells of it, the stream it belongs to, and what that stream must be at.

    `id` names it among all that are pending; `set_by` is the version of `owner`, a stream, that set it.
    """

    id: str
    owner: str
    set_by: int
    due_at: datetime
    stream: str
    expected: ExpectedVersion
    event: DeadlinePassed | CommandDue
    metadata: dict[str, Any]

    @property
    def event_id(self) -> UUID:
        """The id of the event: the same whenever this is called."""
        return UUID(bytes=derived_id(self.owner, self.id, str(self.set_by)))


def _due_by(recorded: RecordedEvent) -> list[Due]:
    """Return all that an event sets: what its owner waits for from then on, in place of what that waited for before."""
    event, version = recorded.event, recorded.version or 0
    carried = {name: value for name, value in recorded.metadata.items() if name in {"correlation_id", "actor"}}
    carried |= {"causation_id": str(recorded.id)}
    owner = recorded.stream or ""
    if isinstance(event, CommandStored) and event.due_at is not None:
        called = CommandDue(event.command_id, event.command, event.data, event.key, event.due_at)
        return [Due("command", owner, version, event.due_at, owner, version, called, carried)]
    if not isinstance(event, ProcessAdvanced):
        return []
    return [
        Due(
            f"{DEADLINE} {name}",
            owner,
            pending.set_by,
            pending.due_at,
            deadline_stream(owner),
            ANY,
            DeadlinePassed(event.process, event.key, name, pending.due_at, pending.set_by),
            carried,
        )
        for name, pending in event.deadlines.items()
    ]


def _delayed_by(recorded: RecordedEvent) -> Iterator[Due]:
    """Yield the commands that a process sends for later."""
    event = recorded.event
    if not isinstance(event, ProcessAdvanced):
        return
    for sent in event.commands:
        if sent.due_at is not None:
            stream, key = command_stream(sent.id), recorded.stream or sent.id
            called = CommandDue(sent.id, sent.command, sent.data, key, sent.due_at, event.process, event.key)
            carried = {**recorded.metadata, "causation_id": str(recorded.id)}
            yield Due("command", stream, 0, sent.due_at, stream, NO_STREAM, called, carried)


class Forget(NamedTuple):
    """What an owner waits for no longer: all of it, or one thing by its `id`, if it is still the one that `set_by` set."""

    owner: str
    id: str | None = None
    set_by: int | None = None


def changes_by(recorded: RecordedEvent) -> Iterator[Forget | Due]:
    """Yield what an event changes of all that is pending, in order: what is forgotten, and what comes to it."""
    event, owner = recorded.event, recorded.stream or ""
    match event:
        case ProcessAdvanced() | CommandStored() | CommandWithdrawn() | CommandDue():
            yield Forget(owner)
        case DeadlinePassed():
            yield Forget(owner.removeprefix(f"{DEADLINE_CATEGORY}-"), f"{DEADLINE} {event.name}", event.set_by)
    yield from _due_by(recorded)
    yield from _delayed_by(recorded)


class Agenda(Projection):
    """What is due, and how the processes stand, in the tables `sacho_agenda` and `sacho_processes`."""

    name = "sacho-agenda"
    agenda = sa.Table(
        "sacho_agenda",
        sa.MetaData(),
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("set_by", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
    )
    processes = sa.Table(
        "sacho_processes",
        sa.MetaData(),
        sa.Column("process", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("is_done", sa.Boolean, nullable=False, index=True),
        sa.Column("next_due", sa.BigInteger),
        sa.Column("last_input", sa.Text, nullable=False),
        sa.Column("began_at", sa.BigInteger, nullable=False),
        sa.Column("advanced_at", sa.BigInteger, nullable=False),
    )

    @classmethod
    def code(cls) -> str | None:
        """Return None: its code changes with Sacho's releases, and that is nothing its users have to do something about."""
        return None

    def prepare(self) -> None:
        """Make the statements."""
        table, owner = self.agenda, self.agenda.c.owner == sa.bindparam("of")
        self.enter = self.upsert(table)
        self.forget = table.delete().where(owner)
        self.forget_one = table.delete().where(
            owner, table.c.id == sa.bindparam("one"), table.c.set_by == sa.bindparam("by")
        )
        columns = ["stream", "version", "is_done", "next_due", "last_input", "advanced_at"]
        self.advance = self.upsert(self.processes, set=columns)

    @handles(ProcessAdvanced)
    def advanced(self, event: ProcessAdvanced, calling: Calling) -> None:
        """Enter what the process waits for, in place of what it waited for before, and how it stands."""
        calling.change()
        at = _microseconds(event.at)
        row = {
            "process": event.process,
            "key": event.key,
            "stream": calling.recorded.stream,
            "version": calling.recorded.version,
            "is_done": event.is_done,
            "next_due": min((_microseconds(one.due_at) for one in event.deadlines.values()), default=None),
            "last_input": event.input_type,
            "began_at": at,
            "advanced_at": at,
        }
        calling.advance(row)

    @handles(CommandStored, CommandWithdrawn, CommandDue, DeadlinePassed)
    def changed(self, event: CommandStored | CommandWithdrawn | CommandDue | DeadlinePassed, calling: Calling) -> None:
        """Enter a command for later, in place of the one before of that id; forget what has gone out or passed."""
        calling.change()

    def taking(self, commits: Commits, here: Surroundings | None = None) -> Taking:
        """Return what keeps the agenda and calls what is due."""
        if here is None:
            raise InvalidConsumer(self.name, "is driven by a runner")
        return Calling(self, commits, here)


class Calling(Changes):
    """Gathers the changes of the agenda, and tells the log of what is due.

    Of a batch only what it comes to is written: by four statements, however many owners and processes it is about.
    """

    def __init__(self, agenda: Agenda, commits: Commits, here: Surroundings) -> None:
        super().__init__(agenda, commits)
        self._agenda = agenda
        self._here = here
        self._entries: dict[str, dict[str, dict[str, Any]]] = {}
        """All that owners wait for since the batch, by owner and id."""
        self._gone: dict[tuple[str, str, int], None] = {}
        """What other owners do not wait for any more: owner, id, and what set it."""
        self._advanced: dict[tuple[str, str], dict[str, Any]] = {}
        """How processes stand since the batch."""
        due = agenda.agenda.c.due_at
        self._first = sa.select(sa.func.min(due))
        self._rows = (
            sa.select(agenda.agenda)
            .where(due <= sa.bindparam("now"))
            .order_by(due, agenda.agenda.c.owner)
            .limit(AT_ONCE)
        )

    def tick(self) -> float | None:
        """Tell the log of what is due by now, up to so many; return for how long nothing will be."""
        now = _microseconds(self._here.clock())
        with self._commits.reading() as connection:
            first: int | None = connection.execute(self._first).scalar_one()
            rows = connection.execute(self._rows, {"now": now}).all() if first is not None and first <= now else []
        if first is None:
            return None
        if not rows:
            return min((first - now) / _MICROSECONDS, LONGEST_WAIT)
        call(self._here, [_due(row) for row in rows])
        for row in rows:
            self.forget(row.owner, row.id, row.set_by)
        return 0.0

    # --- what is gathered -----------------------------------------------------------------------------

    def change(self) -> None:
        """Change what is pending as the event in hand says."""
        for one in changes_by(self.recorded):
            match one:
                case Due():
                    self._entries.setdefault(one.owner, {})[one.id] = _row(one)
                case Forget(owner, id, set_by) if id is not None and set_by is not None:
                    self.forget(owner, id, set_by)
                case Forget(owner):
                    self._entries[owner] = {}

    def forget(self, owner: str, id: str, set_by: int) -> None:
        """Have an owner not wait for one thing any more, if it is what was set then."""
        rows = self._entries.get(owner)
        if rows is None:
            self._gone[owner, id, set_by] = None
        elif id in rows and rows[id]["set_by"] == set_by:
            del rows[id]

    def advance(self, row: dict[str, Any]) -> None:
        """Say how a process stands. It began when it was first heard of."""
        place = row["process"], row["key"]
        before = self._advanced.get(place, row)
        self._advanced[place] = {**row, "began_at": before["began_at"]}

    @property
    def size(self) -> int:
        """How many rows wait to be written."""
        return len(self._entries) + len(self._gone) + len(self._advanced)

    def write(self, connection: sa.Connection) -> None:
        """Write what was gathered."""
        agenda = self._agenda
        rows = [row for of_owner in self._entries.values() for row in of_owner.values()]
        gone = [{"of": owner, "one": id, "by": by} for owner, id, by in self._gone]
        _execute(connection, agenda.forget, [{"of": owner} for owner in self._entries])
        _execute(connection, agenda.forget_one, gone)
        _execute(connection, agenda.enter, rows)
        _execute(connection, agenda.advance, list(self._advanced.values()))
        self._clear()

    def discard(self) -> None:
        """Forget what was gathered."""
        super().discard()
        self._clear()

    def _clear(self) -> None:
        self._entries.clear()
        self._gone.clear()
        self._advanced.clear()


def _execute(connection: sa.Connection, statement: sa.Executable, values: Sequence[dict[str, Any]]) -> None:
    if values:
        connection.execute(statement, values)


def call(here: Surroundings, dues: Iterable[Due]) -> None:
    """Tell the log of what is due. What it was told before, or what was replaced or withdrawn meanwhile, makes no difference."""
    writes = [
        here.store.encode(due.stream, [EventData(due.event, due.event_id, (), due.metadata)], due.expected)
        for due in dues
    ]
    outcomes: Sequence[Any] = here.store.storage.write_many(writes) if writes else ()
    for outcome in outcomes:
        if isinstance(outcome, SachoError) and not isinstance(outcome, WrongExpectedVersion | DuplicateEventId):
            raise outcome


_KINDS: Final[dict[str, type[DeadlinePassed | CommandDue]]] = {DEADLINE: DeadlinePassed, "command": CommandDue}


def _row(due: Due) -> dict[str, Any]:
    return {
        "owner": due.owner,
        "id": due.id,
        "set_by": due.set_by,
        "due_at": _microseconds(due.due_at),
        "stream": due.stream,
        "kind": due.id.partition(" ")[0],
        "event": msgspec.json.encode(due.event).decode(),
        "metadata": msgspec.json.encode(due.metadata).decode(),
    }


def _due(row: Any) -> Due:
    event = msgspec.json.decode(row.event, type=_KINDS[row.kind])
    expected = ANY if row.kind == DEADLINE else row.set_by
    return Due(
        row.id, row.owner, row.set_by, event.due_at, row.stream, expected, event, msgspec.json.decode(row.metadata)
    )


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND

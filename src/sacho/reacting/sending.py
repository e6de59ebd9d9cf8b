"""Sending: the commands that processes sent and that were stored go from the log to the command bus, in order by key."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, NamedTuple
from uuid import UUID

from sacho.deciding.envelope import Origin
from sacho.errors import CommandError, CommandFailed, CommandRefused, DuplicateEventId, InvalidConsumer
from sacho.events import (
    CommandDue,
    CommandStored,
    CommandTurnedDown,
    CommandWithdrawn,
    EventData,
    ProcessAdvanced,
    Query,
    QueryItem,
    RecordedEvent,
    refusal_stream,
    type_name_of,
)
from sacho.reacting.consumer import Consumer
from sacho.reacting.pace import Slices
from sacho.reacting.processes.process_manager import ProcessManager
from sacho.reacting.taking import Commits, Surroundings, Taking, waiting_or_failure
from sacho.store import metadata

MOST_AT_ONCE: Final = 256
"""How many events are taken together at most; those of different keys share commits."""
LEAST_AT_ONCE: Final = 16
SLICE_SECONDS: Final = 0.25
_TURNED_DOWN: Final = type_name_of(CommandTurnedDown)


class Commands(Consumer):
    """Hands commands to the bus, each under its own id, so that one that goes out again is handled once.

    A refusal is told to the process that sent the command, where it takes such (`@on_refusal`); of a command that was stored
    it is recorded in that command's stream. Any other command that cannot be handled is parked with the reason, and those
    of its key behind it. The key is the process, or what the command was stored with, by default the stream it is about.
    """

    name = "sacho-commands"
    partitions = 8
    independent_keys = True
    query = Query(QueryItem(types=[type_name_of(one) for one in (ProcessAdvanced, CommandStored, CommandDue)]))

    def __init__(self, managers: Sequence[ProcessManager[Any]] = ()) -> None:
        self.managers = {manager.name: manager for manager in managers}

    def key(self, recorded: RecordedEvent) -> str:
        """Return within which commands are sent in order."""
        event = recorded.event
        return event.key if isinstance(event, CommandStored | CommandDue) else super().key(recorded)

    def concerns(self, recorded: RecordedEvent) -> bool:
        """Tell whether an event has commands that are to go out now."""
        event = recorded.event
        if isinstance(event, ProcessAdvanced):
            return any(command.due_at is None for command in event.commands)
        return not isinstance(event, CommandStored) or event.due_at is None

    def handler(self, type: str) -> Any:
        """Return something for the types that are sent."""
        return self.taking

    def taking(self, commits: Commits, here: Surroundings) -> Taking:
        """Return what sends."""
        return Sending(self, here)


class Outgoing(NamedTuple):
    """A command on its way. `process` and `key` name the process that sent it, if one did."""

    id: str
    command: str
    data: dict[str, Any]
    process: str = ""
    key: str = ""


class Sending(Taking):
    """Takes events whose commands are to be sent: those of one key one after the other, those of several keys side by side.

    Where one fails, those behind it of other keys have gone out; they are remembered, so that this worker sends them once.
    """

    acts_at_once = True

    def __init__(self, consumer: Commands, here: Surroundings) -> None:
        if here.bus is None:
            raise InvalidConsumer(consumer.name, "the application routes no commands; give it routes=[...]")
        self._consumer = consumer
        self._store = here.store
        self._bus = here.bus
        self._sent: set[int] = set()
        """The positions of events behind the checkpoint whose commands have gone out."""

    def slices(self) -> Slices:
        """So many that they share commits."""
        return Slices(MOST_AT_ONCE, SLICE_SECONDS, LEAST_AT_ONCE)

    def take(self, events: Sequence[RecordedEvent], *, is_replay: bool) -> None:
        """Send the commands of events."""
        self._sent = {position for position in self._sent if position >= events[0].position} if events else self._sent
        lanes: dict[str, deque[_Sent]] = {}
        for recorded in events:
            if recorded.position not in self._sent:
                lanes.setdefault(self._consumer.key(recorded), deque()).append(_Sent(recorded))
        failed: list[tuple[RecordedEvent, BaseException]] = []
        while lanes:
            under_way = [(key, lane[0], self._begun(lane[0])) for key, lane in lanes.items()]
            for key, one, future in under_way:
                try:
                    self._end(one, future)
                except BaseException as error:
                    failed.append((one.recorded, error))
                    del lanes[key]
                    continue
                if one.is_over:
                    self._sent.add(one.recorded.position)
                    lanes[key].popleft()
                if not lanes[key]:
                    del lanes[key]
        if failed:
            first, cause = min(failed, key=lambda one: one[0].position)
            raise waiting_or_failure(cause, first) from cause

    def _begun(self, one: _Sent) -> Future[Any] | BaseException | None:
        """Begin to handle the next command of an event; return what becomes of it, or the error; None if there is none left."""
        recorded, command = one.recorded, one.next()
        if command is None:
            return None
        origin: Origin = "process" if command.process else "stored"
        given = {key: value for key, value in recorded.metadata.items() if key != "command_id"}
        try:
            if self._is_withdrawn(recorded):
                return None
            with metadata(causation_id=recorded.id, correlation_id=_correlation(recorded), more=given):
                built = self._bus.command(command.command, command.data)
                one.refusal_id, excludes = self._bus.refusal(built, command.id)
                if not excludes and self._is_told(one):
                    return None
                return self._bus.submit(built, command_id=command.id, origin=origin)
        except BaseException as error:
            return error

    def _end(self, one: _Sent, begun: Future[Any] | BaseException | None) -> None:
        """Wait for a command, and tell its process if it was refused. Raises CommandFailed, StorageError, what a function does."""
        command = one.command
        if begun is None or command is None:
            return
        try:
            if isinstance(begun, BaseException):
                raise begun
            begun.result()
        except CommandRefused as refusal:
            self._tell(one, command, refusal)
        except DuplicateEventId:
            if not self._is_told(one):
                raise
        except CommandError as error:
            raise CommandFailed(command.command, command.id, str(error)) from error

    def _is_withdrawn(self, recorded: RecordedEvent) -> bool:
        """Tell whether a command was stored, and withdrawn or replaced before it went out."""
        if not isinstance(recorded.event, CommandStored) or recorded.stream is None:
            return False
        later = self._store.read(recorded.stream, after=recorded.version or 0)
        return any(isinstance(one.event, CommandWithdrawn | CommandStored) for one in later)

    def _is_told(self, one: _Sent) -> bool:
        """Tell whether it was recorded that a command was refused. Its process has gone on by that, whatever has changed since."""
        return any(row[3] == _TURNED_DOWN for row in self._store.storage.find([one.refusal_id]))

    def _tell(self, sent: _Sent, one: Outgoing, refusal: CommandRefused) -> None:
        """Record a refusal: for the process that sent the command, or in the stream of the command that was stored.

        Raises CommandFailed where a process sent it that takes no such refusals.
        """
        recorded, name = sent.recorded, one.process
        stream = recorded.stream
        if name:
            manager = self._consumer.managers.get(name)
            if manager is None or ("refusal", one.command) not in manager.takes:
                raise CommandFailed(one.command, one.id, f"{type(refusal).__name__}: {refusal}") from refusal
            stream = refusal_stream(manager.stream_of(one.key))
        told = CommandTurnedDown(name, one.key, one.id, one.command, one.data, type(refusal).__name__, str(refusal))
        caused = {"causation_id": str(recorded.id), "correlation_id": _correlation(recorded), "command_id": one.id}
        event = EventData(told, UUID(bytes=sent.refusal_id), (), {**recorded.metadata, **caused})
        with suppress(DuplicateEventId):  # it was told before, or is effective by another worker
            self._store.append(stream, [event])


class _Sent:
    """An event whose commands are being sent, one after the other."""

    def __init__(self, recorded: RecordedEvent) -> None:
        self.recorded = recorded
        self.command: Outgoing | None = None
        self.refusal_id = b""
        """The id of the event that tells of the command's refusal."""
        self._left = deque(outgoing(recorded))

    def next(self) -> Outgoing | None:
        """Go on to the next command and return it, None if there was none left."""
        self.command = self._left.popleft() if self._left else None
        return self.command

    @property
    def is_over(self) -> bool:
        """Whether no command is left."""
        return not self._left


def outgoing(recorded: RecordedEvent) -> Iterator[Outgoing]:
    """Yield the commands of an event that are to be sent now."""
    event = recorded.event
    if isinstance(event, ProcessAdvanced):
        for command in event.commands:
            if command.due_at is None:
                yield Outgoing(command.id, command.command, command.data, event.process, event.key)
    elif isinstance(event, CommandDue):
        yield Outgoing(event.command_id, event.command, event.data, event.process, event.process_key)
    elif isinstance(event, CommandStored) and event.due_at is None:
        yield Outgoing(event.command_id, event.command, event.data)


def _correlation(recorded: RecordedEvent) -> str:
    return str(recorded.metadata.get("correlation_id") or recorded.id)

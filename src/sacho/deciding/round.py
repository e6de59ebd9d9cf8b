"""One round on one stream: catch up with the log, decide the waiting commands in turn, commit, see what became of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from sacho.deciding.lane import Waiting
from sacho.deciding.outcome import Outcome
from sacho.deciding.state_cache import Folded
from sacho.errors import DuplicateEventId, SachoError, WrongExpectedVersion
from sacho.events import EncodedEvent, StreamWrite, Write
from sacho.storage.port import NO_BOUND
from sacho.store.ids import derived_id

if TYPE_CHECKING:
    from sacho.deciding.decider import Decider
    from sacho.storage.port import Row
    from sacho.store import EventStore

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")


class _Step:
    """A command that was decided: its events and their write, or the answer that it gets if all before it holds."""

    __slots__ = ("answer", "events", "version", "waiting", "write")

    def __init__(
        self, waiting: Waiting, version: int, events: tuple[Any, ...], write: Write | None, answer: Any = None
    ) -> None:
        self.waiting = waiting
        self.version = version
        self.events = events
        self.write = write
        self.answer = answer


class Round(Generic[C, S, E]):
    """After `run`, `results` has what to tell whom, and `again` the commands that have to be decided again."""

    def __init__(self, store: EventStore, decider: Decider[C, S, E], stream: str, commands: Sequence[Waiting]) -> None:
        self.results: list[tuple[Waiting, Outcome | BaseException]] = []
        self.again: list[Waiting] = []
        self._store = store
        self._decider = decider
        self._stream = stream
        self._commands = commands
        self._steps: list[_Step] = []

    def run(self, cached: Folded[S] | None) -> Folded[S] | None:
        """Work through the round; return the state to be kept, or None where it may not be what the log says."""
        try:
            folded = self._catch_up(cached)
            known = self._known_outcomes()
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.results = [(waiting, error) for waiting in self._commands]
            return None
        folded, is_sound = self._decide(folded, known)
        kept = self._commit(folded)
        return kept if is_sound else None

    def _catch_up(self, cached: Folded[S] | None) -> Folded[S]:
        """Return the state as the log says: what the cache has, and the events after it."""
        state, version, position = cached or Folded(self._decider.initial, 0, 0)
        decode = self._store.decoding(raw=False).events
        pages = self._store.storage.read(
            self._stream, after=version, to=None, limit=None, backwards=False, head=NO_BOUND
        )
        for rows in pages:
            state = self._decider.fold(state, decode(rows))
            position, version = rows[-1][0], rows[-1][2] or 0
        return Folded(state, version, position)

    def _known_outcomes(self) -> dict[bytes, Outcome | DuplicateEventId]:
        """Return the first outcomes of those commands whose events are in the log, by the id of their first event.

        An event of that id elsewhere tells that the command was refused (see `first_event_id`).
        """
        ids = [self._event_id(waiting, 0) for waiting in self._commands if waiting.may_be_known]
        rows = self._store.storage.find(ids) if ids else ()
        waiting_by_id = {self._event_id(waiting, 0): waiting for waiting in self._commands if rows}
        return {
            row[6]: self._first_outcome(waiting_by_id[row[6]], row[2] or 0) if row[1] == self._stream else _settled(row)
            for row in rows
        }

    def _first_outcome(self, waiting: Waiting, version: int) -> Outcome:
        """Return what a command recorded, from its first event's version on."""
        events: list[Any] = []
        position = last = 0
        for page in self._store.read(self._stream, after=version - 1).pages():
            for recorded in page:
                if recorded.stored_id != self._event_id(waiting, len(events)):
                    return Outcome(self._stream, last, position, tuple(events))
                events.append(recorded.event)
                position, last = recorded.position, recorded.version or 0
        return Outcome(self._stream, last, position, tuple(events))

    def _decide(self, folded: Folded[S], known: Mapping[bytes, Outcome | DuplicateEventId]) -> tuple[Folded[S], bool]:
        """Decide the commands in turn, each on the state that those before it leave.

        Returns the last state, and whether it may be kept.
        """
        state, version, position = folded
        seen: set[str] = set()
        for index, waiting in enumerate(self._commands):
            if waiting.may_be_known and (outcome := known.get(self._event_id(waiting, 0))) is not None:
                self.results.append((waiting, outcome))
                continue
            if waiting.command_id in seen:
                self.again.append(waiting)
                continue
            seen.add(waiting.command_id)
            try:
                events = self._decided(waiting.command, state)
                write = self._write(waiting, events, version) if events else None
                state = self._decider.fold(state, events)
            except BaseException as refusal:
                if is_interrupt(refusal):
                    raise
                self._steps.append(_Step(waiting, version, (), None, refusal))
                if not self._decider.is_reusable(state):
                    self.again.extend(self._commands[index + 1 :])
                    return folded, False
                continue
            version += len(events)
            answer = None if events else Outcome(self._stream, version, position, ())
            self._steps.append(_Step(waiting, version, events, write, answer))
        return Folded(state, version, position), True

    def _decided(self, command: C, state: S) -> tuple[Any, ...]:
        events: Any = self._decider.decide(command, state)
        if events is None:
            raise TypeError(
                f"{type(self._decider).__name__}.decide returned None; return or yield events, or return ()"
            )
        return tuple(events)

    def _write(self, waiting: Waiting, events: tuple[Any, ...], version: int) -> Write:
        metadata = _command_metadata(waiting)
        ids = iter(range(len(events)))
        encoded: list[EncodedEvent] = [
            self._store.encoding.encode(event, lambda: self._event_id(waiting, next(ids)), metadata) for event in events
        ]
        follows = any(step.write is not None for step in self._steps)
        return Write((StreamWrite(self._stream, encoded, version),), follows=follows)

    def _commit(self, folded: Folded[S]) -> Folded[S] | None:
        """Commit the writes and see what became of each: from the first refusal on, all are decided again."""
        writes = [step.write for step in self._steps if step.write is not None]
        try:
            outcomes: Iterator[Any] = iter(self._store.storage.write_many(writes) if writes else ())
        except SachoError as error:
            outcomes = iter([error] * len(writes))
        position, holds, again = folded.position, True, []
        for step in self._steps:
            result = step.answer if step.write is None else next(outcomes)
            if isinstance(result, WrongExpectedVersion | DuplicateEventId) and step.write is not None:
                step.waiting.conflicts += 1
                again.append(step.waiting)
                holds = False
            elif step.write is None:
                if not holds:
                    again.append(step.waiting)
                elif isinstance(result, Outcome):
                    self.results.append((step.waiting, result._replace(position=position)))
                else:
                    self.results.append((step.waiting, result))
            elif isinstance(result, BaseException):
                self.results.append((step.waiting, result))
                holds = False
            else:
                done = result[0]
                self.results.append((step.waiting, Outcome(self._stream, done.version, done.position, step.events)))
                holds = holds and done.version == step.version
                position = done.position
        self.again = again + self.again
        return Folded(folded.state, folded.version, position) if holds else None

    def _event_id(self, waiting: Waiting, index: int) -> bytes:
        return derived_id(waiting.command_id, self._stream, str(index))


def first_event_id(command_id: str, stream: str) -> bytes:
    """Return the id of the first event that a command records in a stream.

    Whoever tells others that the command was refused gives that event this id: so it is either told or effective, for ever.
    """
    return derived_id(command_id, stream, "0")


def _settled(row: Row) -> DuplicateEventId:
    return DuplicateEventId([UUID(bytes=row[6])], f"tells in {row[1]!r} that the command was refused, and stays so")


def _command_metadata(waiting: Waiting) -> Mapping[str, Any]:
    """Return what a command's events say of where they come from.

    Causation is the event that led to the command if the surroundings name one, else the command itself.
    """
    command_id = waiting.command_id
    metadata = {"correlation_id": command_id, "causation_id": command_id, **waiting.metadata}
    metadata["command"] = _name_of(waiting.command)
    if metadata["causation_id"] != command_id:
        metadata["command_id"] = command_id
    return metadata


def is_interrupt(error: BaseException) -> bool:
    """Tell whether an error is the user's Ctrl-C and not the command's fault: it comes to the main thread, at any time."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def _name_of(command: object) -> str:
    """Return what a command is called: its class, or the function's name where it is one."""
    return getattr(command, "__name__", None) or type(command).__name__

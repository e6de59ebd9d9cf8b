"""Advancing: takes events for a process manager. Each step is one append to the process's stream; what is gathered goes together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sacho.errors import DuplicateEventId, InvalidConsumer, SachoError, StorageError, WrongExpectedVersion
from sacho.events import EncodedEvent, EventData, ProcessAdvanced, RecordedEvent, StreamWrite, Write
from sacho.reacting.pace import Slices
from sacho.reacting.processes.stepping import NOT_BEGUN, Process, Stepping
from sacho.reacting.taking import Surroundings, Taking, failure

if TYPE_CHECKING:
    from sacho.reacting.processes.process_manager import ProcessManager
    from sacho.storage.port import Row
    from sacho.store import EventStore

MOST_KNOWN: Final = 10_000
"""How many processes are remembered between batches."""
MOST_AT_ONCE: Final = 500
LEAST_AT_ONCE: Final = 32
SLICE_SECONDS: Final = 0.25


class _Steps(NamedTuple):
    """The steps of one process that are to be recorded together, behind a version of its stream, and what each was taken on."""

    version: int
    inputs: list[RecordedEvent]
    events: list[EncodedEvent]


class Advancing(Taking):
    """Lets the processes of one kind take their steps.

    A step is known by its process's last input position, so that an event that comes again, after a crash or from a worker
    that lost its lease, leads to nothing.
    """

    def __init__(self, manager: ProcessManager[Any], here: Surroundings) -> None:
        if here.bus is None:
            raise InvalidConsumer(manager.name, "sends commands, and the application routes none; give it routes=[...]")
        self._manager = manager
        self._store = here.store
        self._clock = here.clock
        self._stepping = Stepping(manager, here.bus.stored_form)
        self._known: OrderedDict[str, Process] = OrderedDict()
        self._taken: set[bytes] = set()
        """The ids of steps on the events in hand that are in the log already."""

    def slices(self) -> Slices:
        """So many that a commit is shared by some, however long it takes."""
        return Slices(MOST_AT_ONCE, SLICE_SECONDS, LEAST_AT_ONCE)

    def take(self, events: Sequence[RecordedEvent], *, is_replay: bool) -> None:
        """Let processes take their steps, and append them. Raises HandlerFailed."""
        self._taken.clear()
        while events:
            events = self._left(events)

    def discard(self) -> None:
        """Forget what processes are, so that the log is asked."""
        self._known.clear()

    def committed(self) -> None:
        """Remember no more than there is room for."""
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def _left(self, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        """Take steps on the processes as they are known; return the events of those of whom the log knew better.

        The steps of one process go in one write, so that none is recorded that was taken on what is not in the log.
        """
        steps: dict[str, _Steps] = {}
        self._look_up(events)
        for recorded in events:
            try:
                self._step(recorded, steps)
            except StorageError:
                raise
            except BaseException as error:
                raise failure(error, recorded) from error
        writes = [Write((StreamWrite(stream, one.events, one.version),), None) for stream, one in steps.items()]
        outcomes = self._store.storage.write_many(writes) if writes else ()
        left: list[RecordedEvent] = []
        for (stream, one), outcome in zip(steps.items(), outcomes, strict=True):
            if not isinstance(outcome, SachoError):
                continue
            if isinstance(outcome, DuplicateEventId):
                self._taken.update(row[6] for row in self._store.storage.find([event.id for event in one.events]))
            elif not isinstance(outcome, WrongExpectedVersion):
                raise outcome
            del self._known[stream]
            left += one.inputs
        return left

    def _step(self, recorded: RecordedEvent, steps: dict[str, _Steps]) -> None:
        """Take a process's step on an event, if it takes one, and remember what it is since."""
        key = self._manager.process_key(recorded)
        assert key is not None
        stream = self._manager.stream_of(key)
        process = self._process(stream)
        step = self._stepping.step(process, recorded, self._clock())
        if step is None or step.id.bytes in self._taken:
            return
        metadata = {
            "correlation_id": recorded.metadata.get("correlation_id") or str(recorded.id),
            "causation_id": str(recorded.id),
            "actor": f"process:{self._manager.name}",
        }
        write = self._store.encode(stream, [EventData(step.advanced, step.id, (), metadata)])
        of_process = steps.setdefault(stream, _Steps(process.version, [], []))
        of_process.inputs.append(recorded)
        of_process.events.extend(write.parts[0].events)
        self._known[stream] = Process(process.version + 1, step.advanced)

    def _look_up(self, events: Sequence[RecordedEvent]) -> None:
        """Get to know together the processes that events are for, as far as these can be told."""
        wanted: dict[str, None] = {}
        for recorded in events:
            with suppress(Exception):  # it fails where the event is taken
                key = self._manager.process_key(recorded)
                if key is not None and (stream := self._manager.stream_of(key)) not in self._known:
                    wanted[stream] = None
        if len(wanted) > 1:
            rows = {row[1]: row for row in self._store.storage.last(list(wanted))}
            for stream in wanted:
                with suppress(SachoError):
                    self._known[stream] = _process_of(self._store, stream, rows.get(stream))

    def _process(self, stream: str) -> Process:
        found = self._known.get(stream) or load_process(self._store, stream)
        if found.last is not None and found.last.process != self._manager.name:
            raise InvalidConsumer(
                self._manager.name, f"has the category of {found.last.process!r}, whose {stream!r} is"
            )
        self._known[stream] = found
        self._known.move_to_end(stream)
        return found


def load_process(store: EventStore, stream: str) -> Process:
    """Return a process as its stream says."""
    return _process_of(store, stream, next(iter(store.storage.last([stream])), None))


def _process_of(store: EventStore, stream: str, row: Row | None) -> Process:
    """Return a process as the last event of its stream says, if there is one."""
    if row is None:
        return NOT_BEGUN
    (last,) = store.decoding(raw=False).page([row])
    if not isinstance(last.event, ProcessAdvanced):
        raise InvalidConsumer(stream, f"is the stream of a process, and {last.type!r} stands in it")
    return Process(last.version or 0, last.event)

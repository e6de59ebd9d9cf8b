"""Advancing: takes events for a process manager. Each step is one append to the process's stream; what is gathered goes together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sacho.errors import DuplicateEventId, InvalidConsumer, SachoError, StorageError, WrongExpectedVersion
from sacho.events import EncodedEvent, EventData, ProcessAdvanced, RecordedEvent, StreamWrite, Write
from sacho.reacting.pace import Slices
from sacho.reacting.processes.stepping import NOT_BEGUN, Process, Stepping
from sacho.reacting.taking import Surroundings, Taking, failure

if TYPE_CHECKING:
    from sacho.reacting.processes.process_manager import ProcessManager
    from sacho.store import EventStore

MOST_KNOWN: Final = 10_000
"""How many processes are remembered between batches."""
MOST_AT_ONCE: Final = 500
LEAST_AT_ONCE: Final = 32
SLICE_SECONDS: Final = 0.25
_NO_BOUND: Final = 2**63 - 1


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

    def _process(self, stream: str) -> Process:
        found = self._known.get(stream)
        if found is None:
            found = self._known[stream] = load_process(self._store, stream)
            if found.last is not None and found.last.process != self._manager.name:
                del self._known[stream]
                raise InvalidConsumer(
                    self._manager.name, f"has the category of {found.last.process!r}, whose {stream!r} is"
                )
        self._known.move_to_end(stream)
        return found


def load_process(store: EventStore, stream: str) -> Process:
    """Return a process as its stream says."""
    rows = store.storage.read(stream, after=0, to=None, limit=1, backwards=True, head=_NO_BOUND)
    for last in (recorded for page in rows for recorded in store.decoding(raw=False).page(page)):
        if isinstance(last.event, ProcessAdvanced):
            return Process(last.version or 0, last.event)
        raise InvalidConsumer(stream, f"is the stream of a process, and {last.type!r} stands in it")
    return NOT_BEGUN

"""Advancing: takes events for a process manager. Each step is one append to the process's stream; what is gathered goes together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sacho.errors import DuplicateEventId, InvalidConsumer, SachoError, StorageError, WrongExpectedVersion
from sacho.events import EventData, ProcessAdvanced, RecordedEvent, Write
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

    def slices(self) -> Slices:
        """So many that a commit is shared by some, however long it takes."""
        return Slices(MOST_AT_ONCE, SLICE_SECONDS, LEAST_AT_ONCE)

    def take(self, events: Sequence[RecordedEvent], *, is_replay: bool) -> None:
        """Let processes take their steps, and append them. Raises HandlerFailed."""
        while not self._is_taken(events):
            self._known.clear()  # somebody else has advanced them, and the log tells how far

    def discard(self) -> None:
        """Forget what processes are, so that the log is asked."""
        self._known.clear()

    def committed(self) -> None:
        """Remember no more than there is room for."""
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def _is_taken(self, events: Sequence[RecordedEvent]) -> bool:
        """Take steps on the processes as they are known; return False where the log knew better."""
        writes: list[Write] = []
        for recorded in events:
            try:
                write = self._written(recorded)
            except StorageError:
                raise
            except BaseException as error:
                raise failure(error, recorded) from error
            if write is not None:
                writes.append(write)
        outcomes = self._store.storage.write_many(writes) if writes else ()
        refusals = [one for one in outcomes if isinstance(one, SachoError)]
        for refusal in refusals:
            if not isinstance(refusal, WrongExpectedVersion | DuplicateEventId):
                raise refusal
        return not refusals

    def _written(self, recorded: RecordedEvent) -> Write | None:
        """Return the append of a process's step on an event, if it takes one, and remember what it is since."""
        key = self._manager.process_key(recorded)
        assert key is not None
        stream = self._manager.stream_of(key)
        process = self._process(stream)
        step = self._stepping.step(process, recorded, self._clock())
        if step is None:
            return None
        metadata = {
            "correlation_id": recorded.metadata.get("correlation_id") or str(recorded.id),
            "causation_id": str(recorded.id),
            "actor": f"process:{self._manager.name}",
        }
        write = self._store.encode(stream, [EventData(step.advanced, step.id, (), metadata)], process.version)
        self._known[stream] = Process(process.version + 1, step.advanced)
        return write

    def _process(self, stream: str) -> Process:
        found = self._known.get(stream)
        if found is None:
            found = self._known[stream] = load_process(self._store, stream)
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

"""Calendar: what is due at a time in a simulation. It follows the log as the agenda of a runner does, by the same rules."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from sacho.events import RecordedEvent
from sacho.reacting.agenda import Agenda, Due, Forget, call, changes_by

if TYPE_CHECKING:
    from sacho.storage.port import Row
    from sacho.testing.simulation.running import Run
    from sacho.testing.simulation.workers import Worker


class Calendar:
    """What is pending, in memory."""

    name = Agenda.name
    query = Agenda.events()
    weight = 0.5

    def __init__(self, run: Run) -> None:
        self._run = run
        self._all: list[RecordedEvent] = []
        self._new: deque[RecordedEvent] = deque()
        self._pending: dict[tuple[str, str], Due] = {}
        self._next: datetime | None = None

    def offer(self, row: Row, recorded: RecordedEvent) -> None:
        """Let an event come to be entered, some time later."""
        self._all.append(recorded)
        self._new.append(recorded)

    def has_work(self) -> bool:
        """Tell whether something is to be entered, or due."""
        return bool(self._new) or (self._next is not None and self._next <= self._run.now)

    def next_at(self) -> datetime | None:
        """Return when the next is due."""
        return self._next

    def step(self, but: Worker | None = None) -> bool:
        """Enter some events, or call what is due; return whether it did."""
        run = self._run
        is_due = self._next is not None and self._next <= run.now
        if self._new and (not is_due or run.dice.random() < 0.7):
            for _ in range(run.dice.randint(1, len(self._new))):
                self._enter(self._new.popleft())
        elif is_due:
            return self._call_due(but)
        else:
            return False
        self._next = min((due.due_at for due in self._pending.values()), default=None)
        if run.happens(run.chances.again / 10):
            run.note("{} is built anew", self.name)
            self._new = deque(self._all)
            self._pending.clear()
            self._next = None
        return True

    def restart(self, worker: Worker) -> None:
        """Nothing of it is lost: it is written with its checkpoint."""

    def _enter(self, recorded: RecordedEvent) -> None:
        pending = self._pending
        for one in changes_by(recorded):
            match one:
                case Due():
                    pending[one.owner, one.id] = one
                case Forget(owner, id, set_by) if id is not None and set_by is not None:
                    self._forget(owner, id, set_by)
                case Forget(owner):
                    for key in [key for key in pending if key[0] == owner]:
                        del pending[key]

    def _forget(self, owner: str, id: str, set_by: int) -> None:
        found = self._pending.get((owner, id))
        if found is not None and set_by == found.set_by:
            del self._pending[owner, id]

    def _call_due(self, but: Worker | None) -> bool:
        run = self._run
        worker = run.any_worker()
        if worker is but:
            return False
        now = worker.clock()
        dues = sorted((one for one in self._pending.values() if one.due_at <= now), key=lambda one: one.due_at)
        if not dues:
            run.note("the clock of {} is set right", worker)
            worker.behind = timedelta()
            return True
        self._call(worker, dues[: run.dice.randint(1, len(dues))])
        return True

    def _call(self, worker: Worker, dues: Sequence[Due]) -> None:
        run = self._run
        for due in dues:
            run.note("{} calls what is due: {} of {}", worker, due.id, due.owner)
        run.counts.called += len(dues)
        error = run.attempt(worker, partial(call, worker.here, dues))
        if worker.is_dead:
            run.restart(worker)
        elif error is None and not run.happens(run.chances.again):
            for due in dues:
                self._forget(due.owner, due.id, due.set_by)
        self._next = min((due.due_at for due in self._pending.values()), default=None)

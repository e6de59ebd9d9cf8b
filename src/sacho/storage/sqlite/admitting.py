"""Admitting: which of the writes of one commit are accepted, and which place each of them gets."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from sacho.errors import AppendConditionFailed, Conflict, WrongExpectedVersion
from sacho.events import AppendCondition, Appended, Expected, StreamWrite, Write
from sacho.events.appending import ANY
from sacho.storage.idempotency import first_result
from sacho.storage.port import Outcome
from sacho.storage.sqlite import reading
from sacho.storage.sqlite.inserting import Entry, insert_events
from sacho.storage.sqlite.remembering import Known, first_match


class Admission:
    """The writes of one commit, checked one after the other against the log and those before them."""

    def __init__(self, known: Known, now: int) -> None:
        self.outcomes: list[Outcome] = []
        """What became of each write so far."""
        self.refused = 0
        self.pending: list[Entry] = []
        """The events that were accepted."""
        self.versions: dict[str, int] = {}
        self.head = known.head
        """The position of the last event that was accepted."""
        self._known = known
        self._now = now

    def place(self, write: Write) -> None:
        """Accept a write whose ids are new. Raises WrongExpectedVersion or AppendConditionFailed, and nothing is changed."""
        if write.condition is not None:
            self._check_condition(write.condition)
        if len(write.parts) == 1:
            part = write.parts[0]
            self.outcomes.append([self._join(part, self._start(part, self.versions))])
            return
        ahead = dict(self.versions)
        starts = []
        for part in write.parts:
            starts.append(start := self._start(part, ahead))
            if part.stream is not None and start is not None:
                ahead[part.stream] = start + len(part.events)
        self.outcomes.append([self._join(part, start) for part, start in zip(write.parts, starts, strict=True)])

    def _start(self, part: StreamWrite, ahead: dict[str, int]) -> int | None:
        """Return the version of a part's stream if it is what is expected, else raise WrongExpectedVersion."""
        stream, expected = part.stream, part.expected
        if stream is None:
            return None
        actual = ahead.get(stream)
        if actual is None:
            actual = self._known.version(stream)
        if expected is ANY or expected == actual or (expected is Expected.EXISTS and actual > 0):
            return actual
        raise WrongExpectedVersion(stream, expected, actual)

    def _check_condition(self, condition: AppendCondition) -> None:
        found = self._known.first_match(condition.query, condition.after)
        if found is None:
            found = first_match(self.pending, condition.query, condition.after)
        if found is not None:
            raise AppendConditionFailed(condition.after, found)

    def _join(self, part: StreamWrite, version: int | None) -> Appended:
        stream, position, now = part.stream, self.head, self._now
        for event in part.events:
            position += 1
            if version is not None:
                version += 1
            self.pending.append((position, stream, version, event, now))
        if stream is not None and version is not None:
            self.versions[stream] = version
        self.head = position
        return Appended(version, position)


class CarefulAdmission(Admission):
    """Within a transaction, where writes may be refused or be repeats: looks for ids wherever it matters."""

    def __init__(self, known: Known, now: int, connection: sqlite3.Connection) -> None:
        super().__init__(known, now)
        self._connection = connection
        self._inserted = 0

    def admit(self, writes: Sequence[Write], ids: Sequence[bytes]) -> None:
        """Find what becomes of each write, in order, and hand the events of those accepted to SQLite."""
        are_new = not self._known.has_any(ids)
        was_accepted = False
        for write in writes:
            if write.follows and not was_accepted:
                self._refuse(self._unfounded(write))
            else:
                was_accepted = self._accept(write, are_new)
        self._insert()

    def _accept(self, write: Write, is_new: bool) -> bool:
        """Find what becomes of a write; return whether it was accepted as a new one."""
        try:
            repeated = None if is_new else self._repeated(write)
            if repeated is None:
                self.place(write)
                return True
            self.outcomes.append(repeated)
        except Conflict as refusal:
            self._refuse(refusal)
        return False

    def _refuse(self, refusal: Conflict) -> None:
        self.outcomes.append(refusal)
        self.refused += 1

    def _unfounded(self, write: Write) -> WrongExpectedVersion:
        """Return the refusal of a write that follows one which was not accepted."""
        part = write.parts[0]
        stream = str(part.stream)
        version = self.versions.get(stream)
        return WrongExpectedVersion(stream, part.expected, self._known.version(stream) if version is None else version)

    def _repeated(self, write: Write) -> list[Appended] | None:
        """Return the first result of a write that is in the log already, or None. Raises DuplicateEventId."""
        self._insert()
        ids = [event.id for part in write.parts for event in part.events]
        return first_result(write, reading.find(self._connection, ids))

    def _insert(self) -> None:
        insert_events(self._connection, self.pending[self._inserted :])
        self._inserted = len(self.pending)

"""Admitting: which of the writes of one commit are accepted, and which place each of them gets."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sacho.errors import AppendConditionFailed, Conflict, WrongExpectedVersion
from sacho.events import ANY, EXISTS, AppendCondition, Appended, Write
from sacho.storage.idempotency import first_result
from sacho.storage.port import Outcome
from sacho.storage.sqlite import reading
from sacho.storage.sqlite.inserting import Entry, insert_events
from sacho.storage.sqlite.remembering import Known, first_match

if TYPE_CHECKING:
    from typing import Self


class Admission:
    """The writes of one commit, checked one after the other against the log and those before them."""

    __slots__ = ("_known", "_now", "head", "ids", "outcomes", "pending", "refused", "versions")

    def __init__(self, known: Known, now: int) -> None:
        self.outcomes: list[Outcome] = []
        """What became of each write so far."""
        self.refused = 0
        self.pending: list[Entry] = []
        """The events that were accepted."""
        self.ids: list[bytes] = []
        """Their ids."""
        self.versions: dict[str, int] = {}
        self.head = known.head
        """The position of the last event that was accepted."""
        self._known = known
        self._now = now

    def place(self, write: Write) -> None:
        """Accept a write whose ids are new. Raises WrongExpectedVersion or AppendConditionFailed, and nothing is changed."""
        if write.condition is not None:
            self._check_condition(write.condition)
        before = None if len(write.parts) == 1 else (len(self.pending), dict(self.versions), self.head)
        position, now, add, add_id = self.head, self._now, self.pending.append, self.ids.append
        appended: list[Appended] = []
        for part in write.parts:
            stream, version = part.stream, None
            if stream is not None:
                version = self.versions.get(stream)
                if version is None:
                    version = self._known.version(stream)
                expected = part.expected
                if expected is not ANY and expected != version and not (expected is EXISTS and version):
                    if before is not None:
                        self._go_back(*before)
                    raise WrongExpectedVersion(stream, expected, version)
                self.versions[stream] = version + len(part.events)
            for event in part.events:
                position += 1
                if version is not None:
                    version += 1
                add((position, stream, version, event, now))
                add_id(event.id)
            appended.append(Appended(version, position))
        self.head = position
        self.outcomes.append(appended)

    def _go_back(self, pending: int, versions: dict[str, int], head: int) -> None:
        """Forget the parts of a write of which a later one is refused."""
        del self.pending[pending:], self.ids[pending:]
        self.versions, self.head = versions, head

    def _check_condition(self, condition: AppendCondition) -> None:
        found = self._known.first_match(condition.query, condition.after)
        if found is None:
            found = first_match(self.pending, condition.query, condition.after)
        if found is not None:
            raise AppendConditionFailed(condition.after, found)


class CarefulAdmission(Admission):
    """Within a transaction, where writes may be refused or be repeats: looks for ids wherever it matters."""

    __slots__ = ("_connection", "_inserted")

    def __init__(self, known: Known, now: int, connection: sqlite3.Connection) -> None:
        super().__init__(known, now)
        self._connection = connection
        self._inserted = 0

    @classmethod
    def of(
        cls, writes: Sequence[Write], known: Known, now: int, connection: sqlite3.Connection, *, was_accepted: bool
    ) -> Self:
        """Find what becomes of each write, in order, and hand the events of those accepted to SQLite.

        `was_accepted`: whether the write before the first one was.
        """
        admission = cls(known, now, connection)
        admission._admit(writes, was_accepted=was_accepted)
        return admission

    def _admit(self, writes: Sequence[Write], *, was_accepted: bool) -> None:
        are_new = not self._known.has_any(
            [event.id for write in writes for part in write.parts for event in part.events]
        )
        for write in writes:
            if write.follows and not was_accepted:
                self._refuse(self._unfounded(write))
            else:
                was_accepted = self._accept(write, are_new)
        self._insert()

    def _insert(self) -> None:
        """Hand to SQLite what was accepted since the last time."""
        insert_events(self._connection, self.pending[self._inserted :], self._known.indexed_to, self._known.inline)
        self._inserted = len(self.pending)

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

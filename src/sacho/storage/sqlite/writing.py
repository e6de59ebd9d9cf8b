"""Writing: one commit for all writes that wait, each accepted or refused on its own.

The common way is one statement, without a transaction around it: what is remembered of the log says whether the writes
are accepted and which positions they get, and the log takes the events in only if these positions are still free. If
another connection has written meanwhile, or a write seems to be refused or repeated, the commit is gone through again
in a transaction, with care.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from sacho.errors import Conflict, CorruptLog
from sacho.events import Write
from sacho.storage.port import Outcome
from sacho.storage.sqlite.admitting import Admission, CarefulAdmission
from sacho.storage.sqlite.connecting import is_busy, translate, when_free
from sacho.storage.sqlite.indexing import write_index
from sacho.storage.sqlite.inserting import MOST_ROWS, insert_events
from sacho.storage.sqlite.remembering import Known
from sacho.storage.statistics import Counting
from sacho.storage.wakeups import Wakeups


class Writer:
    """The one connection that writes. Its methods are called by one thread at a time, in the turn of the group commit."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        timeout: float,
        clock: Callable[[], int],
        counting: Counting,
        wakeups: Wakeups,
    ) -> None:
        self.connection = connection
        """For the writer, and in its turn for others' short reads."""
        self._path = path
        self._timeout = timeout
        self._clock = clock
        self._counting = counting
        self._wakeups = wakeups
        self.known = Known(connection)
        """Asked by others in the writer's turn only."""

    def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """Write all that can be in one commit; return what became of each. Raises StorageError if nothing could."""
        started = time.perf_counter()
        if not writes:
            return []
        try:
            admission = self._supposed(writes)
            if admission is None or not self._wrote_at_once(admission):
                admission = self._in_transaction(writes, admission)
        except BaseException as error:
            self.known.forget()
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.IntegrityError):
                raise CorruptLog(str(self._path), str(error)) from error
            if isinstance(error, sqlite3.Error):
                raise translate(error, self._path) from error
            raise
        self._counting.commit(len(writes), admission.refused, len(admission.pending), started)
        if self._wakeups.listeners:
            self._wakeups.rise(admission.head)
        return admission.outcomes

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def _supposed(self, writes: Sequence[Write]) -> Admission | None:
        """Return what becomes of the writes if the log is as it is known and they are new; None if one may be refused."""
        known = self.known
        if not known.index_due or writes[0].follows:
            return None
        admission = Admission(known, self._clock() // 1_000)
        try:
            for write in writes:
                admission.place(write)
        except Conflict:
            return None
        return None if known.has_any(admission.ids) else admission

    def _wrote_at_once(self, admission: Admission) -> bool:
        """Write by one statement and return True; return False, and change nothing, where that cannot be."""
        known, entries = self.known, admission.pending
        if admission.head >= known.index_due or len(entries) > MOST_ROWS:
            return False
        try:
            insert_events(self.connection, entries, known.indexed_to)
        except sqlite3.IntegrityError:
            known.doubt()
            return False
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return False
            raise
        known.take_in(entries, admission.versions, admission.head)
        return True

    def _in_transaction(self, writes: Sequence[Write], supposed: Admission | None) -> Admission:
        """Write with care: in a transaction, where what is found to be holds until the end."""
        known = self.known
        when_free(lambda: self.connection.execute("BEGIN IMMEDIATE"), self._timeout, self._path)
        admission = None if known.refresh() else supposed
        if admission is None:
            admission = CarefulAdmission.of(writes, known, self._clock() // 1_000, self.connection)
        else:
            insert_events(self.connection, admission.pending, known.indexed_to)
        is_index_due = admission.head >= known.index_due
        if is_index_due:
            write_index(self.connection, chain(known.tail.entries, admission.pending))
        self.connection.execute("COMMIT")
        known.take_in(admission.pending, admission.versions, admission.head)
        if is_index_due:
            known.index()
        return admission

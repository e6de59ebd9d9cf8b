"""Writing: one commit for all writes that wait, each accepted or refused on its own.

The common way is one statement, without a transaction around it: what is remembered of the log says whether the writes
are accepted and which positions they get, and the log takes the events in only if these positions are still free. If
another connection has written meanwhile, or a write seems to be refused or repeated, the commit is gone through again
in a transaction, with care. So it is where inline views are to be written with the events.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from sacho.errors import Conflict, CorruptLog, InlineViewFailed, InlineViewMissing, SachoError, StorageFailed
from sacho.events import Write
from sacho.storage.busy import is_busy
from sacho.storage.inline_views import InlineViews, failed, write_views
from sacho.storage.port import Outcome, row_of
from sacho.storage.sqlite.admitting import Admission, CarefulAdmission
from sacho.storage.sqlite.connecting import is_of_the_file, translate, when_free
from sacho.storage.sqlite.indexing import write_index
from sacho.storage.sqlite.inserting import MOST_ROWS, Entry, insert_events
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
        views: InlineViews,
    ) -> None:
        self.connection = connection
        """For the writer, and in its turn for others' short reads."""
        self._path = path
        self._timeout = timeout
        self._clock = clock
        self._counting = counting
        self._wakeups = wakeups
        self._views = views
        self.known = Known(connection)
        """Asked by others in the writer's turn only."""

    def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """Write all that can be in one commit; return what became of each. Raises StorageError if nothing could."""
        if not writes:
            return []
        try:
            return self._commit(writes).outcomes
        except InlineViewFailed as failure:
            return self._each_alone(writes) if len(writes) > 1 else [failure]

    def _each_alone(self, writes: Sequence[Write]) -> list[Outcome]:
        """Write each in a commit of its own, so that a view that fails refuses no other's events."""
        outcomes: list[Outcome] = []
        was_accepted = False
        for write in writes:
            try:
                admission = self._commit((write,), was_accepted=was_accepted)
                outcomes += admission.outcomes
                was_accepted = bool(admission.pending)
            except InlineViewFailed as failure:
                outcomes.append(failure)
                was_accepted = False
            except SachoError as error:
                if not outcomes:
                    raise
                return outcomes + [error] * (len(writes) - len(outcomes))
        return outcomes

    def _commit(self, writes: Sequence[Write], *, was_accepted: bool = False) -> Admission:
        """Write in one commit, or raise: InlineViewFailed, InlineViewMissing or StorageError."""
        started = time.perf_counter()
        try:
            admission = self._supposed(writes)
            if admission is None or not self._wrote_at_once(admission):
                admission = self._in_transaction(writes, admission, was_accepted=was_accepted)
        except BaseException as error:
            self.known.forget()
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            if isinstance(error, InlineViewFailed) and len(writes) == 1:
                self._counting.commit(1, 1, 0, started)
            if isinstance(error, sqlite3.IntegrityError):
                raise CorruptLog(str(self._path), str(error)) from error
            if isinstance(error, sqlite3.Error):
                raise translate(error, self._path) from error
            raise
        self._counting.commit(len(writes), admission.refused, len(admission.pending), started)
        if self._wakeups.listeners:
            self._wakeups.rise(admission.head)
        return admission

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
        if known.inline and self._has_views_for(entries):
            return False
        try:
            insert_events(self.connection, entries, known.indexed_to, known.inline)
        except sqlite3.IntegrityError:
            known.doubt()
            return False
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return False
            raise
        known.take_in(entries, admission.versions, admission.head)
        return True

    def _in_transaction(self, writes: Sequence[Write], supposed: Admission | None, *, was_accepted: bool) -> Admission:
        """Write with care: in a transaction, where what is found to be holds until the end."""
        known = self.known
        when_free(lambda: self.connection.execute("BEGIN IMMEDIATE"), self._timeout, self._path)
        admission = None if known.refresh() else supposed
        if missing := self._views.missing(known.inline):
            raise InlineViewMissing(missing)
        if admission is None:
            now = self._clock() // 1_000
            admission = CarefulAdmission.of(writes, known, now, self.connection, was_accepted=was_accepted)
        else:
            insert_events(self.connection, admission.pending, known.indexed_to, known.inline)
        is_index_due = admission.head >= known.index_due
        if is_index_due:
            write_index(self.connection, chain(known.tail.entries, admission.pending))
        if known.inline and admission.pending:
            self._write_views(admission.pending)
        else:
            self.connection.execute("COMMIT")
        known.take_in(admission.pending, admission.versions, admission.head)
        if is_index_due:
            known.index()
        return admission

    def _has_views_for(self, entries: Sequence[Entry]) -> bool:
        """Tell whether views have to be written with these events, or one is missing."""
        try:
            return bool(self._views.concerned(self.known.inline, _types(entries)))
        except InlineViewMissing:
            return True

    def _write_views(self, entries: Sequence[Entry]) -> None:
        """Have the views take the events, and commit."""
        views = self._views.concerned(self.known.inline, _types(entries))
        if views:
            write_views(views, [row_of(*entry) for entry in entries], self.connection, _of_the_file)
            if not self.connection.in_transaction:
                names = ", ".join(view.name for view in views)
                raise StorageFailed(f"an inline view ({names}) ended the append's transaction", may_have_happened=True)
        try:
            self.connection.execute("COMMIT")
        except sqlite3.IntegrityError as error:
            if not views:
                raise
            raise failed(", ".join(view.name for view in views), error) from error


def _types(entries: Sequence[Entry]) -> set[str]:
    return {entry[3].type for entry in entries}


def _of_the_file(error: Exception) -> Exception | None:
    """Return what the file itself has failed with, behind what a view raised."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, sqlite3.Error) and is_of_the_file(behind):
            return behind
        behind = behind.__cause__
    return None

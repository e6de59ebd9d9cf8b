"""Writing: one transaction for all writes that wait, each accepted or refused on its own.

The common way looks nothing up that is not needed: versions and head are remembered for as long as no other connection
has written (`PRAGMA data_version`), and ids are left to the unique index. Only where that index objects, or a write is
refused, are ids looked for; then the batch, if need be, is gone through again with care.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from sacho.errors import (
    AppendConditionFailed,
    CorruptLog,
    DuplicateEventId,
    SachoError,
    WrongExpectedVersion,
)
from sacho.events import Appended, EncodedEvent, Expected, ExpectedVersion, StreamWrite, Write
from sacho.events.appending import ANY
from sacho.storage.idempotency import first_result
from sacho.storage.port import Outcome
from sacho.storage.sqlite import reading
from sacho.storage.sqlite.connecting import translate, when_free
from sacho.storage.sqlite.inserting import event_row, insert_events
from sacho.storage.sqlite.marking import MARK_EVERY, Named, Tail, marked_to, named_between, write_marks
from sacho.storage.statistics import Counting

REMEMBERED_STREAMS: Final = 20_000

Entry: TypeAlias = tuple[int, str | None, int | None, EncodedEvent]
"""An event with its position, stream and version."""

STREAM_VERSION: Final = "SELECT coalesce(max(version), 0) FROM events WHERE stream = ?"


class Writer:
    """The one connection that writes. Its methods are called by one thread at a time, in the turn of the group commit."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, timeout: float, clock: Callable[[], int], counting: Counting
    ) -> None:
        self._connection = connection
        self._path = path
        self._timeout = timeout
        self._clock = clock
        self._counting = counting
        self._seen: int | None = None
        self._head = 0
        self._marked_to = 0
        self._tail: Tail | None = None
        self._versions: dict[str, int] = {}
        self._pending: list[Entry] = []
        self._flushed = 0
        self._was_accepted = False
        self._now = 0

    def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """Write all that can be in one transaction; return what became of each. Raises StorageError if nothing could."""
        started = time.perf_counter()
        try:
            outcomes = self._transaction(writes, careful=False)
        except sqlite3.IntegrityError:
            outcomes = self._transaction(writes, careful=True)
        refused = sum([isinstance(outcome, SachoError) for outcome in outcomes])
        self._counting.commit(len(writes) - refused, refused, len(self._pending), started)
        return outcomes

    @property
    def head(self) -> int:
        """The head after the last commit of this writer."""
        return self._head

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _transaction(self, writes: Sequence[Write], *, careful: bool) -> list[Outcome]:
        try:
            when_free(self._connection, "BEGIN IMMEDIATE", self._timeout, self._path)
            self._refresh()
            outcomes = [self._outcome(write, careful) for write in writes]
            self._flush()
            head = self._head + len(self._pending)
            if head - self._marked_to >= MARK_EVERY:
                write_marks(self._connection, self._marked_to, head)
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._undo()
            if isinstance(error, sqlite3.IntegrityError) and not careful:
                raise
            if isinstance(error, sqlite3.IntegrityError):
                raise CorruptLog(str(self._path), str(error)) from error
            if isinstance(error, sqlite3.Error):
                raise translate(error, self._path) from error
            raise
        self._head = head
        if head - self._marked_to >= MARK_EVERY:
            self._marked_to, self._tail = head, Tail()
        return outcomes

    def _refresh(self) -> None:
        """Forget what is remembered if another connection has written since."""
        (seen,) = self._connection.execute("PRAGMA data_version").fetchone()
        if seen != self._seen:
            self._forget()
            self._seen = seen
            self._head = reading.head(self._connection)
            self._marked_to = marked_to(self._connection)
        elif len(self._versions) > REMEMBERED_STREAMS:
            self._versions.clear()
        self._pending = []
        self._flushed = 0
        self._was_accepted = False
        self._now = self._clock()

    def _forget(self) -> None:
        self._seen = None
        self._tail = None
        self._versions = {}
        self._pending = []

    def _undo(self) -> None:
        self._forget()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _outcome(self, write: Write, careful: bool) -> Outcome:
        was_accepted, self._was_accepted = self._was_accepted, False
        if write.follows and not was_accepted:
            part = write.parts[0]
            return WrongExpectedVersion(str(part.stream), part.expected, self._version(str(part.stream)))
        try:
            if careful and (result := self._repeated(write)) is not None:
                return result
            result = self._place(write)
            self._was_accepted = True
            return result
        except (WrongExpectedVersion, AppendConditionFailed) as refusal:
            return self._result_or(write, refusal)
        except DuplicateEventId as refusal:
            return refusal

    def _result_or(self, write: Write, refusal: SachoError) -> Outcome:
        """Return the first result of a write that is repeated, else the refusal."""
        try:
            return self._repeated(write) or refusal
        except DuplicateEventId as duplicate:
            return duplicate

    def _repeated(self, write: Write) -> list[Appended] | None:
        self._flush()
        ids = [event.id for part in write.parts for event in part.events]
        return first_result(write, reading.find(self._connection, ids))

    def _place(self, write: Write) -> list[Appended]:
        """Check a write against the log and what is pending, then let it join. Raises before anything is changed."""
        if write.condition is not None:
            self._check_condition(write)
        if len(write.parts) == 1:
            part = write.parts[0]
            return [self._join(part, self._checked(part.stream, part.expected, None))]
        versions: dict[str, int] = {}
        starts: list[int | None] = []
        for part in write.parts:
            start = self._checked(part.stream, part.expected, versions)
            if part.stream is not None and start is not None:
                versions[part.stream] = start + len(part.events)
            starts.append(start)
        return [self._join(part, start) for part, start in zip(write.parts, starts, strict=True)]

    def _checked(self, stream: str | None, expected: ExpectedVersion, ahead: dict[str, int] | None) -> int | None:
        """Return the stream's version if it is what is expected, else raise WrongExpectedVersion."""
        if stream is None:
            return None
        actual = ahead.get(stream) if ahead else None
        if actual is None:
            actual = self._version(stream)
        if expected is ANY or expected == actual or (expected is Expected.EXISTS and actual > 0):
            return actual
        raise WrongExpectedVersion(stream, expected, actual)

    def _version(self, stream: str) -> int:
        version = self._versions.get(stream)
        if version is None:
            (version,) = self._connection.execute(STREAM_VERSION, (stream,)).fetchone()
            self._versions[stream] = version
        return version

    def _check_condition(self, write: Write) -> None:
        condition = write.condition
        assert condition is not None
        found = None
        if condition.after < self._marked_to:
            found = reading.first_match(self._connection, condition.query, condition.after, self._marked_to)
        if found is None:
            found = self._known_tail().first_match(condition.query, condition.after)
        if found is not None:
            raise AppendConditionFailed(condition.after, found)

    def _known_tail(self) -> Tail:
        """Return the events behind the marks, read from the log if another connection wrote some of them."""
        if self._tail is None:
            self._tail = Tail()
            for named in named_between(self._connection, self._marked_to, self._head):
                self._tail.add(named)
            for position, stream, _, event in self._pending:
                self._tail.add(Named(position, event.type, stream, event.tags))
        return self._tail

    def _join(self, part: StreamWrite, start: int | None) -> Appended:
        version = start
        position = self._head + len(self._pending)
        for event in part.events:
            position += 1
            version = None if version is None else version + 1
            self._pending.append((position, part.stream, version, event))
            if self._tail is not None:
                self._tail.add(Named(position, event.type, part.stream, event.tags))
        if part.stream is not None and version is not None:
            self._versions[part.stream] = version
        return Appended(version, position)

    def _flush(self) -> None:
        """Hand the pending events that are not yet there to SQLite."""
        entries = self._pending[self._flushed :] if self._flushed else self._pending
        if entries:
            self._flushed = len(self._pending)
            insert_events(self._connection, [event_row(*entry, self._now) for entry in entries])

"""Writing: what waits in one process goes to the database in one call, each write accepted or refused on its own.

Writes have ids, so a call whose end is unknown is made again: what it wrote is found then. Where inline views are
concerned, the call stands in a transaction with what they write.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.errors import UniqueViolation

from sacho.errors import (
    CorruptLog,
    DuplicateEventId,
    InlineViewFailed,
    InlineViewMissing,
    SachoError,
    StorageBusy,
    StorageError,
    StorageUnreachable,
)
from sacho.events import Write
from sacho.storage.idempotency import first_result
from sacho.storage.inline_views import InlineViews
from sacho.storage.port import Outcome, Row
from sacho.storage.postgres.calls import ACCEPTED, OTHER_VIEWS, Answer, Mode, arguments, outcomes, rows_written
from sacho.storage.postgres.connecting import Retrying
from sacho.storage.postgres.failures import is_lost, is_passing, translate
from sacho.storage.postgres.locking import Keys, in_order, joined, keys_of
from sacho.storage.postgres.registering import NOTHING, Registered, commit, registered, take
from sacho.storage.postgres.session import LONG_NAME, Session
from sacho.storage.statistics import Counting

if TYPE_CHECKING:
    from sacho.storage.postgres.settings import PostgresSettings

MOST_ID_RACES: Final = 20

Find = Callable[[Sequence[bytes]], list[Row]]


class Writer:
    """The one connection that appends. `commit` is called by one thread at a time, in the turn of the group commit."""

    def __init__(
        self,
        session: Session,
        settings: PostgresSettings,
        find: Find,
        counting: Counting,
        told: Callable[[int], object],
        views: InlineViews,
    ) -> None:
        self._session: Session | None = session
        self._settings = settings
        self._find = find
        self._counting = counting
        self._told = told
        self._views = views
        self._registered = NOTHING
        """Which views the log registered when it was last asked. All of them are attached."""
        self._is_ending = False

    def end(self) -> None:
        """Let what is under way finish, but wait for no server that is gone."""
        self._is_ending = True

    def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """Write all that can be, in as few transactions as may be; return what became of each. Raises StorageError."""
        done: list[Outcome] = []
        accepted = True
        groups = deque(_together(writes))
        try:
            while groups:
                some, keys = groups.popleft()
                try:
                    if isinstance(keys, DuplicateEventId):
                        raise keys
                    found, accepted = self._commit(some, in_order(keys), accepted=accepted)
                    done += found
                except (DuplicateEventId, InlineViewFailed) as refusal:
                    if len(some) == 1:
                        done.append(refusal)
                        accepted = False
                    else:  # each alone, so that a view that fails refuses no other's events
                        groups.extendleft([((write,), keys_of(write)) for write in reversed(some)])
        except (StorageError, InlineViewMissing) as error:
            if not done:
                raise
            done += [error] * (len(writes) - len(done))
        return done

    def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            self._session.close()

    def _commit(self, writes: Sequence[Write], locks: Sequence[int], *, accepted: bool) -> tuple[list[Outcome], bool]:
        """Write in one transaction; return what became of each, and whether the last was accepted as a new one."""
        started = time.perf_counter()
        try:
            rows = self._called(writes, locks, accepted=accepted)
        except InlineViewFailed:
            if len(writes) == 1:
                self._counting.commit(1, 1, 0, started)
            raise
        found = outcomes(writes, rows)
        told = [self._known(write) if one is None else one for write, one in zip(writes, found, strict=True)]
        events = [
            len(part.events)
            for write, one in zip(writes, found, strict=True)
            if isinstance(one, list)
            for part in write.parts
        ]
        refused = sum(1 for one in told if isinstance(one, SachoError))
        self._counting.commit(len(writes), refused, sum(events), started)
        if events:
            self._told(max(row.position or 0 for row in rows if row.outcome == ACCEPTED))
        return told, isinstance(found[-1], list)

    def _called(self, writes: Sequence[Write], locks: Sequence[int], *, accepted: bool) -> list[Answer]:
        """Call the append function; again where that is safe and helps."""
        settings = self._settings
        mode = Mode(accepted=accepted, relaxed=settings.is_relaxed)
        retrying, races = Retrying(settings.timeout), 0
        while True:
            try:
                session = self._open()
                call = mode._replace(lock_wait=session.lock_wait, known_change=self._registered.change)
                rows = self._tried(session, writes, arguments(writes, locks, call))
                if rows[0].outcome != OTHER_VIEWS:
                    return rows
                self._registered = self._learned(session)
                if not retrying.pause():
                    raise StorageBusy(settings.timeout, "the log's inline views were changed again and again")
            except UniqueViolation as error:
                mode, races = mode._replace(careful=True), races + 1
                if races > MOST_ID_RACES:
                    raise CorruptLog(settings.shown, str(error).splitlines()[0]) from error
            except StorageUnreachable as error:
                if self._is_ending or not retrying.pause():
                    raise StorageUnreachable(error.where, error.reason, may_have_happened=mode.again) from error
            except psycopg.Error as error:
                if is_lost(error):
                    mode = mode._replace(careful=True, again=True)
                may_help = not self._is_ending if is_lost(error) else is_passing(error)
                if not may_help or not retrying.pause():
                    raise translate(error, settings, may_have_happened=mode.again) from error

    def _tried(self, session: Session, writes: Sequence[Write], values: Sequence[bytes | None]) -> list[Answer]:
        """Call the append function, once; where views are concerned, in a transaction in which they take the events."""
        views = self._views.concerned(self._registered.views, _types(writes)) if self._registered.views else ()
        if not views:
            return session.append(values)
        try:
            session.begin()
            rows = session.append(values, LONG_NAME)
            if any(row.outcome == ACCEPTED for row in rows):
                take(views, rows_written(writes, rows), session.connection)
            commit(views, session.commit)
        except BaseException as error:
            if isinstance(error, Exception):
                session.roll_back()
            else:
                session.close()
            raise
        return rows

    def _learned(self, session: Session) -> Registered:
        """Return which views the log registers. Raises InlineViewMissing for one that is not attached."""
        self._registered = NOTHING
        found = registered(session.connection, self._settings)
        if missing := self._views.missing(found.views):
            raise InlineViewMissing(missing)
        return found

    def _known(self, write: Write) -> Outcome:
        """Return the first result of a write of which ids are in the log, or why it is no repeat."""
        ids = [event.id for part in write.parts for event in part.events]
        try:
            result = first_result(write, self._find(ids))
        except DuplicateEventId as refusal:
            return refusal
        except StorageError:
            return StorageUnreachable(self._settings.shown, "a repeat could not be read", may_have_happened=True)
        return result or CorruptLog(self._settings.shown, "ids were found that are not there")

    def _open(self) -> Session:
        """Return the connection, made anew where it was lost."""
        session = self._session
        if session is None or session.connection.closed:
            session = self._session = Session(self._settings)
        return session


def _types(writes: Sequence[Write]) -> set[str]:
    return {event.type for write in writes for part in write.parts for event in part.events}


def _together(writes: Sequence[Write]) -> Iterator[tuple[Sequence[Write], Keys | DuplicateEventId]]:
    """Yield the writes in groups that fit into one transaction, with their keys; what repeats its ids alone, refused."""
    some: list[Write] = []
    keys: Keys = {}
    for write in writes:
        if refusal := _repeats_itself(write):
            if some:
                yield some, keys
            yield [write], refusal
            some = []
            continue
        own = keys_of(write)
        both = joined(keys, own) if some else own
        if both is None:
            yield some, keys
            some, both = [], own
        some.append(write)
        keys = both
    if some:
        yield some, keys


def _repeats_itself(write: Write) -> DuplicateEventId | None:
    """Return the refusal of a write in which an id stands twice."""
    try:
        if len(write.parts) > 1 or len(write.parts[0].events) > 1:
            first_result(write, ())
    except DuplicateEventId as refusal:
        return refusal
    return None

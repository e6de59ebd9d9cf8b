"""The storage port: what every engine promises. The conformance suite (`sacho.testing.conformance`) is its proof.

The promises in short: an append is atomic and durable when it returns; expected versions and conditions hold under
any concurrency; appends are idempotent by event id, strictly and for ever; no reader of the whole log ever skips an
event; reads stream in bounded memory, by an index; nothing is ever updated or deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

import msgspec

from sacho.errors import SachoError
from sacho.events import Appended, EncodedEvent, Query, Write
from sacho.storage.statistics import CommitObserver, StorageStatistics

Row: TypeAlias = tuple[int, str | None, int | None, str, int, str, bytes, str | None, str | None, int]
"""A stored event: position, stream, version, type, schema version, data (JSON), id (16 bytes), tags (a JSON list or
None), metadata (a JSON object or None), recorded at (microseconds since 1970 UTC)."""

CHUNK_ROWS = 2_000
"""How many rows one page of a read has at most."""
CHUNK_BYTES = 4 * 1024 * 1024
"""At how many bytes of JSON a page ends early, so that large events do not fill the memory."""

NO_BOUND = 2**63 - 1
"""The head of a read that is bounded by none."""
CAPABILITIES = {
    "atomic-streams": "one append over several streams is all or nothing",
    "conditions": "append conditions by query (dynamic consistency boundaries)",
    "cross-process": "several processes may use one log at once",
    "durable": "an acknowledged append survives the end of the process and a power cut",
    "inline-views": "views written within the append's own transaction",
    "joined-appends": "an append may join a transaction that the application holds on the log's own database",
    "one-order": "all events of the log stand in one order of positions",
    "roles": "roles of the database with least rights, one for reading and one for appending",
    "unique-ids": "event ids are unique for ever, not only within a window",
}
"""What an application may require by name: `connect(url, require={"conditions"})`."""


class LogIdentity(NamedTuple):
    """Which log this is, and which life of it: restoring a backup begins a new epoch. Checkpoints belong to both."""

    id: UUID
    epoch: int


class Bounds(NamedTuple):
    """How far reads may go now. Up to `head` nothing can appear any more in the whole log.

    The events of one stream come in turn, so a read of one goes up to the position `stream`: no event of it that was
    acknowledged before is missed, wherever the head is.
    """

    head: int
    stream: int


class StreamInfo(NamedTuple):
    """One stream of the log: its version, the position and time of its last event."""

    stream: str
    version: int
    position: int
    recorded_at: datetime


class CategoryInfo(NamedTuple):
    """One category of the log: the position and time of its last event."""

    category: str
    position: int
    recorded_at: datetime


class Beside(NamedTuple):
    """Where views can be kept beside the log, in its own database, so that a transaction can span both.

    `dialect` is `sqlite` or `postgresql`. `connect` opens a further DBAPI connection to the database (sqlite3 in
    autocommit, psycopg with its own transactions); it may be called by any thread and raises what the driver does.
    `schema` is the name of the schema that the log has for itself, None where there are no schemas.
    """

    dialect: str
    connect: Callable[[], Any]
    schema: str | None


class Snapshot(NamedTuple):
    """A folded state, kept beside the log; it may be dropped at any time, and nothing is lost with it."""

    stream: str
    version: int
    fingerprint: str
    state: bytes


class ImportedEvent(NamedTuple):
    """An event on the import path: it keeps its place. `position` above all that the log holds, ascending."""

    position: int
    stream: str | None
    version: int | None
    event: EncodedEvent
    recorded_at: int


Outcome: TypeAlias = list[Appended] | SachoError
"""What became of one Write: an Appended for each of its parts, or the error that refused it."""


Tell: TypeAlias = Callable[[list[Outcome]], None]
"""Takes the outcomes of writes, in their order. It must not block."""


Joining: TypeAlias = Generator[Callable[[], Any], Any, list[Appended]]
"""An append within a transaction of the application, in steps: call what it yields, await that where the connection is of
asyncio, and send the result."""


class InlineView(Protocol):
    """What is written beside events, in their append's own transaction: a row that is as fresh as the log."""

    @property
    def name(self) -> str:
        """Its name as the log registers it, with its version, such as `seats@2`."""

    @property
    def types(self) -> frozenset[str]:
        """Only events of these types concern it; empty: all."""

    def take(self, rows: Sequence[Row], connection: Any) -> None:
        """Write what these events change.

        `rows` are events just appended that concern it, in order of position, as `read_all` will give them. `connection`
        is the driver's own (sqlite3.Connection, psycopg.Connection), within the append's transaction; it must neither
        commit nor roll back, nor append to the log. What it raises refuses the append. The same events may come again
        where the transaction was rolled back, so nothing is remembered but in the database.
        """


class Storage(Protocol):
    """An engine. All methods are thread-safe and blocking, but for `submit`; all raise StorageError where the log fails.

    After `close()` every method raises StoreClosed; in a forked child StoreForked.
    """

    name: str
    """The engine's name for messages, such as `sqlite`."""
    capabilities: frozenset[str]
    """Which of CAPABILITIES it offers."""

    @property
    def identity(self) -> LogIdentity:
        """The log's id and epoch."""

    def write(self, write: Write) -> list[Appended]:
        """Append atomically; return an Appended for each part, in order, once all is durable.

        First by ids: if all of them are in the log with the same stream, type, data and tags, the first result is
        returned, whatever is expected. Then the condition, then the parts in order, each against its expected version.
        Raises WrongExpectedVersion, AppendConditionFailed, DuplicateEventId; nothing is written then.
        """

    def write_many(self, writes: Sequence[Write]) -> list[Outcome]:
        """Append each on its own, in this order, in as few commits as the engine can; return what became of each.

        A write that `follows` is refused, with WrongExpectedVersion, if the one before it was refused or is a repeat:
        it was decided on events that are not there.
        """

    def submit(self, write: Write) -> Future[list[Appended]]:
        """Like `write`, without waiting: the future has the result or the error. Cancelling it undoes nothing."""

    def hand_in(self, writes: Sequence[Write], tell: Tell) -> None:
        """Like `write_many`, without waiting: `tell` is called once with the outcomes, by any thread."""

    def join(self, connection: object, write: Write, *, is_async: bool) -> Joining:
        """Return the steps of an append within a transaction that the caller holds on the log's own database.

        It is durable and shown when that commits, and nothing if it rolls back; until then it may hold up others. Raises,
        in its steps, what `write` does, after which the transaction may be used on; UnsupportedOperation where the
        engine does not offer "joined-appends"; InvalidInput for a connection that cannot be meant.
        """

    def head(self) -> int:
        """Return the highest position that a reader of the whole log may be shown; 0 for an empty log."""

    def bounds(self, stream: str) -> Bounds:
        """Return the head, and up to which position the stream may be read."""

    def read(
        self, stream: str, *, after: int, to: int | None, limit: int | None, backwards: bool, head: int
    ) -> Iterator[list[Row]]:
        """Yield pages of the events of one stream with after < version <= to and position <= head, in order of version."""

    def last(self, streams: Sequence[str]) -> list[Row]:
        """Return the last event of each of these streams that is there, in any order, in as few questions as may be."""

    def read_all(self, query: Query, *, after: int, to: int, limit: int | None, backwards: bool) -> Iterator[list[Row]]:
        """Yield pages of the events that match, with after < position <= to, in order of position."""

    def correlated(self, correlation_id: str, *, after: int, to: int) -> Iterator[list[Row]]:
        """Yield pages of the events of one correlation id, with after < position <= to, in order of position."""

    def find(self, ids: Sequence[bytes]) -> list[Row]:
        """Return the events of these ids that are there, in order of position."""

    def streams(self, *, category: str | None, after: str, limit: int | None) -> Iterator[list[StreamInfo]]:
        """Yield pages of the streams whose id is above `after`, in order of id (by code point)."""

    def categories(self) -> list[CategoryInfo]:
        """Return the categories of the log in order of name."""

    def position_at(self, recorded_at: int) -> int:
        """Return the last position recorded at or before a time (microseconds since 1970 UTC), 0 if there is none."""

    def listen(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Have `callback(head)` called soon after the head rises, by any process; return what ends it.

        The callback comes from any thread, must not block, and may come late or for several appends at once, but comes.
        """

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of the stream's earlier one."""

    def load_snapshot(self, stream: str) -> Snapshot | None:
        """Return the stream's snapshot, or None."""

    def delete_snapshots(self, stream: str | None = None) -> None:
        """Drop the snapshot of a stream, or all of them."""

    def import_events(self, events: Iterable[ImportedEvent]) -> int:
        """Write events that keep ids, versions, positions and times (copy, restore); return how many.

        For operators: raises InvalidAppend for positions or versions that do not follow on what is there, and where the
        log registers inline views, which would not be written.
        """

    def begin_epoch(self) -> LogIdentity:
        """Begin a new epoch, after a restore; return the new identity."""

    def attach(self, views: Sequence[InlineView]) -> None:
        """Have these views written within this engine's appends, whenever the log registers them by name.

        One that is attached and not registered is not written: it is still being built. A view of the same name takes
        the place of the earlier one. Raises UnsupportedOperation where the engine does not offer "inline-views".

        While the log registers a view that is not attached, appends raise InlineViewMissing. A view that raises has its
        write refused with InlineViewFailed. Joined appends over asyncio cannot write views: where one is concerned they
        raise UnsupportedOperation.
        """

    def inline_views(self) -> tuple[str, ...]:
        """Return the names of the views that the log registers, in order."""

    def register_inline(
        self, names: Sequence[str], finish: Callable[[int, Any], None], *, known: Sequence[str] | None = None
    ) -> bool:
        """Have the log register exactly these views, for all processes from their next append on.

        In one transaction, beside which nobody appends: `finish(position, connection)` is called with the last position
        of the log and the driver's connection, to bring the views up to there; then the names are entered. It must
        neither commit, roll back nor append, and be short, since who appends waits. What it raises rolls all back and is
        raised. Raises StorageBusy where appends under way do not end in time.

        Returns True. Where `known` is given and the log registers others by then, somebody else was faster: nothing is
        called or changed, and False returned.
        """

    def beside(self) -> Beside | None:
        """Return how views can be kept in the log's own database; None where it has none."""

    def make_roles(self) -> tuple[str, ...]:
        """Make the database's roles of least rights, or give them what they lack; return their names.

        Raises UnsupportedOperation where the engine does not offer "roles".
        """

    def observe(self, observer: CommitObserver) -> None:
        """Have every commit reported, for metrics."""

    def statistics(self) -> StorageStatistics:
        """Return counts since the start, sizes in bytes, and the age of the oldest append in flight."""

    def close(self) -> None:
        """End what is under way, then release all. Closing twice is fine."""


def last_one_by_one(storage: Storage, streams: Sequence[str]) -> list[Row]:
    """Return the last event of each stream, for engines of which one question costs no more than its part of a larger one."""
    found: list[Row] = []
    for stream in streams:
        for rows in storage.read(stream, after=0, to=None, limit=1, backwards=True, head=NO_BOUND):
            found += rows
    return found


def moment(microseconds: int) -> datetime:
    """Return a stored time as a datetime in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def row_of(position: int, stream: str | None, version: int | None, event: EncodedEvent, recorded_at: int) -> Row:
    """Return an event in the form in which engines give it out."""
    return (
        position,
        stream,
        version,
        event.type,
        event.schema_version,
        event.data,
        event.id,
        encode_tags(event.tags),
        event.metadata,
        recorded_at,
    )


def encode_tags(tags: tuple[str, ...]) -> str | None:
    """Return tags as they are stored: a JSON list, or None."""
    return _encode(tags).decode() if tags else None


_encode = msgspec.json.Encoder().encode

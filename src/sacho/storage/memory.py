"""The memory engine: the port in its plainest form, for tests and simulations. Nothing survives the process."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec

from sacho.errors import (
    AppendConditionFailed,
    DuplicateEventId,
    InvalidAppend,
    SachoError,
    StoreClosed,
    StoreForked,
    UnsupportedOperation,
    WrongExpectedVersion,
)
from sacho.events import Appended, EncodedEvent, Expected, Query, QueryItem, Write, category_of
from sacho.storage.group_commit import settle
from sacho.storage.idempotency import first_result
from sacho.storage.port import (
    CAPABILITIES,
    CHUNK_BYTES,
    CHUNK_ROWS,
    Beside,
    Bounds,
    CategoryInfo,
    ImportedEvent,
    InlineView,
    Joining,
    LogIdentity,
    Outcome,
    Row,
    Snapshot,
    StreamInfo,
    Tell,
    last_one_by_one,
    moment,
    row_of,
)
from sacho.storage.processes import same_process
from sacho.storage.statistics import CommitObserver, Counting, StorageStatistics
from sacho.storage.wakeups import Wakeups

Key = tuple[str, str]
"""An entry of the index: ("type" | "tag" | "category" | "stream" | "correlation", the name)."""

_decode_tags: Final = msgspec.json.Decoder(tuple[str, ...]).decode


class MemoryStorage:
    """The log in lists. Implements `sacho.storage.port.Storage`; see there for what each method promises."""

    name = "memory"
    capabilities = frozenset(CAPABILITIES) - {"durable", "cross-process", "inline-views", "joined-appends", "roles"}

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        """Begin an empty log. `clock`: nanoseconds since 1970."""
        self._clock = clock
        self._lock = threading.RLock()
        self._is_same_process = same_process()
        self._closed = False
        self._identity = LogIdentity(uuid4(), 1)
        self._rows: list[Row] = []
        self._positions: list[int] = []
        self._index: dict[Key, list[int]] = {}
        self._ids: dict[bytes, int] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._wakeups = Wakeups()
        self._counting = Counting()
        self._was_accepted = False

    @property
    def identity(self) -> LogIdentity:
        """The log's id and epoch."""
        return self._identity

    def write(self, write: Write) -> list[Appended]:
        """Append atomically."""
        (outcome,) = self.write_many((write,))
        if isinstance(outcome, SachoError):
            raise outcome
        return outcome

    def write_many(self, writes: Sequence[Write]) -> list[Outcome]:
        """Append each on its own, in this order."""
        started = time.perf_counter()
        with self._lock:
            self._check()
            before = len(self._rows)
            self._was_accepted = False
            outcomes = [self._outcome(write) for write in writes]
            refused = sum(1 for outcome in outcomes if isinstance(outcome, SachoError))
            self._counting.commit(len(writes), refused, len(self._rows) - before, started)
            head = self._head()
        self._wakeups.rise(head)
        return outcomes

    def submit(self, write: Write) -> Future[list[Appended]]:
        """Append at once; the future is done when it comes back."""
        future: Future[list[Appended]] = Future()
        self.hand_in((write,), partial(settle, future))
        return future

    def hand_in(self, writes: Sequence[Write], tell: Tell) -> None:
        """Append at once, and tell at once."""
        tell(self.write_many(writes))

    def join(self, connection: object, write: Write, *, is_async: bool) -> Joining:
        """Refuse: there is no transaction to join."""
        raise UnsupportedOperation("joined-appends", self.name, self.capabilities)

    def head(self) -> int:
        """Return the highest position."""
        with self._lock:
            self._check()
            return self._head()

    def bounds(self, stream: str) -> Bounds:
        """Return the head, twice: no append is under way beside it."""
        head = self.head()
        return Bounds(head, head)

    def read(
        self, stream: str, *, after: int, to: int | None, limit: int | None, backwards: bool, head: int
    ) -> Iterator[list[Row]]:
        """Yield pages of one stream."""
        with self._lock:
            self._check()
            known = self._index.get(("stream", stream), [])
            last = bisect_right(known, head) if to is None else min(to, bisect_right(known, head))
            positions = known[after:last]
        return self._pages(positions, limit, backwards)

    def last(self, streams: Sequence[str]) -> list[Row]:
        """Return the last event of each stream."""
        return last_one_by_one(self, streams)

    def read_all(self, query: Query, *, after: int, to: int, limit: int | None, backwards: bool) -> Iterator[list[Row]]:
        """Yield pages of the events that match."""
        with self._lock:
            self._check()
            positions = self._matching(query, after, to)
        return self._pages(positions, limit, backwards)

    def correlated(self, correlation_id: str, *, after: int, to: int) -> Iterator[list[Row]]:
        """Yield pages of the events of one correlation id."""
        with self._lock:
            self._check()
            positions = self._between(("correlation", correlation_id), after, to)
        return self._pages(positions, None, backwards=False)

    def find(self, ids: Sequence[bytes]) -> list[Row]:
        """Return the events of these ids."""
        with self._lock:
            self._check()
            return sorted(self._row(self._ids[id]) for id in set(ids) if id in self._ids)

    def streams(self, *, category: str | None, after: str, limit: int | None) -> Iterator[list[StreamInfo]]:
        """Yield pages of streams."""
        with self._lock:
            self._check()
            names = sorted(
                name
                for kind, name in self._index
                if kind == "stream" and name > after and (category is None or category_of(name) == category)
            )[:limit]
            infos = [self._stream_info(name) for name in names]
        return (infos[start : start + CHUNK_ROWS] for start in range(0, len(infos), CHUNK_ROWS))

    def categories(self) -> list[CategoryInfo]:
        """Return the categories."""
        with self._lock:
            self._check()
            names = sorted(name for kind, name in self._index if kind == "category")
            last = [self._row(self._index["category", name][-1]) for name in names]
        return [CategoryInfo(name, row[0], moment(row[9])) for name, row in zip(names, last, strict=True)]

    def position_at(self, recorded_at: int) -> int:
        """Return the last position recorded at or before a time."""
        with self._lock:
            self._check()
            return next((row[0] for row in reversed(self._rows) if row[9] <= recorded_at), 0)

    def listen(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Have `callback(head)` called when the head rises."""
        self._check()
        return self._wakeups.add(callback)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of the earlier one."""
        with self._lock:
            self._check()
            self._snapshots[snapshot.stream] = snapshot

    def load_snapshot(self, stream: str) -> Snapshot | None:
        """Return the stream's snapshot, or None."""
        with self._lock:
            self._check()
            return self._snapshots.get(stream)

    def delete_snapshots(self, stream: str | None = None) -> None:
        """Drop the snapshot of a stream, or all."""
        with self._lock:
            self._check()
            if stream is None:
                self._snapshots.clear()
            else:
                self._snapshots.pop(stream, None)

    def import_events(self, events: Iterable[ImportedEvent]) -> int:
        """Write events that keep their place."""
        count = 0
        for imported in events:
            with self._lock:
                self._check()
                self._check_import(imported)
                self._add(imported.position, imported.stream, imported.version, imported.event, imported.recorded_at)
            count += 1
        self._wakeups.rise(self.head())
        return count

    def begin_epoch(self) -> LogIdentity:
        """Begin a new epoch."""
        with self._lock:
            self._check()
            self._identity = self._identity._replace(epoch=self._identity.epoch + 1)
            return self._identity

    def attach(self, views: Sequence[InlineView]) -> None:
        """Refuse: there is no database for views."""
        raise UnsupportedOperation("inline-views", self.name, self.capabilities)

    def inline_views(self) -> tuple[str, ...]:
        """Return none."""
        return ()

    def register_inline(
        self, names: Sequence[str], finish: Callable[[int, Any], None], *, known: Sequence[str] | None = None
    ) -> bool:
        """Refuse: there is no database for views."""
        raise UnsupportedOperation("inline-views", self.name, self.capabilities)

    def beside(self) -> Beside | None:
        """Return None: there is no database."""
        return None

    def make_roles(self) -> tuple[str, ...]:
        """Refuse: whoever may open the log may do all."""
        raise UnsupportedOperation("roles", self.name, self.capabilities)

    def observe(self, observer: CommitObserver) -> None:
        """Have every commit reported."""
        self._counting.observers.append(observer)

    def statistics(self) -> StorageStatistics:
        """Return counts; the size is that of the events' data."""
        with self._lock:
            self._check()
            return self._counting.statistics(sum(len(row[5]) for row in self._rows), 0, 0.0)

    def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    def _check(self) -> None:
        if not self._is_same_process():
            raise StoreForked
        if self._closed:
            raise StoreClosed

    def _head(self) -> int:
        return self._positions[-1] if self._positions else 0

    def _row(self, position: int) -> Row:
        return self._rows[bisect_right(self._positions, position) - 1]

    def _version(self, stream: str) -> int:
        return len(self._index.get(("stream", stream), ()))

    def _stream_info(self, stream: str) -> StreamInfo:
        row = self._row(self._index["stream", stream][-1])
        return StreamInfo(stream, self._version(stream), row[0], moment(row[9]))

    def _outcome(self, write: Write) -> Outcome:
        was_accepted, self._was_accepted = self._was_accepted, False
        if write.follows and not was_accepted:
            part = write.parts[0]
            return WrongExpectedVersion(str(part.stream), part.expected, self._version(str(part.stream)))
        try:
            ids = [event.id for part in write.parts for event in part.events]
            if (result := first_result(write, self.find(ids))) is not None:
                return result
            result = self._place(write)
            self._was_accepted = True
            return result
        except (WrongExpectedVersion, AppendConditionFailed, DuplicateEventId) as refusal:
            return refusal

    def _place(self, write: Write) -> list[Appended]:
        condition = write.condition
        if condition and (found := self._matching(condition.query, condition.after, self._head())):
            raise AppendConditionFailed(condition.after, found[0])
        versions: dict[str, int] = {}
        for part in write.parts:
            if part.stream is not None:
                actual = versions.get(part.stream, self._version(part.stream))
                if not _fits(part.expected, actual):
                    raise WrongExpectedVersion(part.stream, part.expected, actual)
                versions[part.stream] = actual + len(part.events)
        now = self._clock() // 1_000
        return [self._join(part.stream, part.events, now) for part in write.parts]

    def _join(self, stream: str | None, events: Sequence[EncodedEvent], now: int) -> Appended:
        for event in events:
            self._add(self._head() + 1, stream, None if stream is None else self._version(stream) + 1, event, now)
        return Appended(None if stream is None else self._version(stream), self._head())

    def _add(self, position: int, stream: str | None, version: int | None, event: EncodedEvent, at: int) -> None:
        self._rows.append(row_of(position, stream, version, event, at))
        self._positions.append(position)
        self._ids[event.id] = position
        for key in _keys(stream, event):
            self._index.setdefault(key, []).append(position)

    def _check_import(self, imported: ImportedEvent) -> None:
        if imported.position <= self._head():
            raise InvalidAppend(f"position {imported.position} does not lie above {self._head()}, the log's last")
        if imported.stream is not None and imported.version != self._version(imported.stream) + 1:
            raise InvalidAppend(
                f"version {imported.version} of {imported.stream!r} does not follow on {self._version(imported.stream)}"
            )
        if imported.event.id in self._ids:
            raise DuplicateEventId([UUID(bytes=imported.event.id)], "is in the log already")

    def _matching(self, query: Query, after: int, to: int) -> list[int]:
        if query.is_everything:
            return self._positions[bisect_right(self._positions, after) : bisect_right(self._positions, to)]
        found: set[int] = set()
        for item in query.items:
            found.update(self._matching_item(item, after, to))
        return sorted(found)

    def _matching_item(self, item: QueryItem, after: int, to: int) -> set[int]:
        parts: list[set[int]] = [set(self._between(("tag", tag), after, to)) for tag in item.tags]
        for kind, names in (("type", item.types), ("category", item.categories)):
            if names:
                parts.append({position for name in names for position in self._between((kind, name), after, to)})
        return set.intersection(*parts)

    def _between(self, key: Key, after: int, to: int) -> list[int]:
        positions = self._index.get(key, [])
        return positions[bisect_right(positions, after) : bisect_right(positions, to)]

    def _pages(self, positions: list[int], limit: int | None, backwards: bool) -> Iterator[list[Row]]:
        ordered = (positions[::-1] if backwards else positions)[:limit]
        page: list[Row] = []
        size = 0
        for position in ordered:
            with self._lock:
                self._check()
                row = self._row(position)
            page.append(row)
            size += len(row[5])
            if len(page) == CHUNK_ROWS or size >= CHUNK_BYTES:
                yield page
                page, size = [], 0
        if page:
            yield page


def _fits(expected: int | Expected, actual: int) -> bool:
    if isinstance(expected, Expected):
        return expected is Expected.ANY or actual > 0
    return expected == actual


def _keys(stream: str | None, event: EncodedEvent) -> Iterator[Key]:
    yield "type", event.type
    for tag in event.tags:
        yield "tag", tag
    if stream is not None:
        yield "stream", stream
        yield "category", category_of(stream)
    if event.correlation_id is not None:
        yield "correlation", event.correlation_id

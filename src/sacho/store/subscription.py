"""Subscriptions: catch up, then live, with no gap and no repeat at the seam, for any number of subscribers.

There is no seam: a subscription only ever reads on from where it is, up to the head; a wake-up tells it to look again.
What was just read is kept for a moment, so thousands who wait at the same place cost one read.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from sacho.errors import StoreClosed
from sacho.events import Query, RecordedEvent
from sacho.storage.port import CHUNK_BYTES
from sacho.store.reading import Decoding

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sacho.storage.port import Storage

BATCH: Final = 500
"""How many events a subscription reads ahead at most."""
REMEMBERED_BATCHES: Final = 64
REMEMBERED_BYTES: Final = 128 * 1024
"""How large a batch may be, as JSON, to be kept for others who want the same."""

BatchKey: TypeAlias = tuple[Decoding, Query, int, int]
Batch: TypeAlias = tuple[list[RecordedEvent], int]


class Feed:
    """The batches that subscriptions of one store read: `after` a position, up to a head. Shared and thread-safe."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._recent: dict[BatchKey, Batch] = {}
        self._lock = threading.Lock()

    def recent(self, decoding: Decoding, query: Query, after: int, head: int) -> Batch | None:
        """Return what `batch` would if it was asked the same a moment ago, without touching the log."""
        return self._recent.get((decoding, query, after, head))

    def batch(self, decoding: Decoding, query: Query, after: int, head: int) -> Batch:
        """Return the next events that match, and up to which position the log has been looked through."""
        key = (decoding, query, after, head)
        found = self._recent.get(key)
        if found is None:
            rows = next(self._storage.read_all(query, after=after, to=head, limit=BATCH, backwards=False), [])
            size = sum([len(row[5]) for row in rows])
            is_cut = len(rows) == BATCH or size >= CHUNK_BYTES
            found = decoding.page(rows), rows[-1][0] if is_cut else head
            if size <= REMEMBERED_BYTES:
                self._remember(key, found)
        return found

    def listen(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Have `callback(head)` called soon after the head rises; return what ends it."""
        return self._storage.listen(callback)

    def head(self) -> int:
        """Return the log's head."""
        return self._storage.head()

    def _remember(self, key: BatchKey, batch: Batch) -> None:
        with self._lock:
            while len(self._recent) >= REMEMBERED_BATCHES:
                del self._recent[next(iter(self._recent))]
            self._recent[key] = batch


class Subscription:
    """Events as they are recorded, in order, each once. Iterate it, or ask for the `next` one with a timeout.

    It may be closed from another thread, which ends an iteration that waits.
    """

    def __init__(self, feed: Feed, decoding: Decoding, query: Query, after: int) -> None:
        self._feed = feed
        self._decoding = decoding
        self._query = query
        self._scanned = after
        self._ready: deque[RecordedEvent] = deque()
        self._lock = threading.Lock()
        """Taken by `with`, which no Ctrl-C can split; the condition's own `with` can be."""
        self._changed = threading.Condition(self._lock)
        self._risen = 0
        self._closed = False
        self._ended_by_store = False
        self._unlisten = feed.listen(self._wake)

    @property
    def position(self) -> int:
        """Up to which position of the log everything that matches has been handed out."""
        return self._ready[0].position - 1 if self._ready else self._scanned

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed

    def next(self, timeout: float | None = None) -> RecordedEvent | None:
        """Return the next event, waiting up to `timeout` seconds (None: without end).

        Returns None if none came in time or the subscription was closed. Raises StoreClosed if the store was closed.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        while not self._closed:
            if self._ready:
                return self._ready.popleft()
            if not self._read_on() and not self._wait(ends):
                break
        if self._ended_by_store:
            raise StoreClosed
        return None

    def close(self) -> None:
        """End the subscription. Closing twice is fine."""
        self._unlisten()
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    def end(self) -> None:
        """End the subscription because its store is closing."""
        self._ended_by_store = not self._closed
        self.close()

    def __iter__(self) -> Iterator[RecordedEvent]:
        while (recorded := self.next()) is not None:
            yield recorded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _read_on(self) -> bool:
        """Read the next batch; return whether the log held anything new, matching or not."""
        head = max(self._risen, self._feed.head())
        if head <= self._scanned:
            return False
        events, self._scanned = self._feed.batch(self._decoding, self._query, self._scanned, head)
        self._ready.extend(events)
        return True

    def _wait(self, ends: float | None) -> bool:
        """Wait for a wake-up; return False when the time is over."""
        with self._lock:
            while self._risen <= self._scanned and not self._closed:
                left = None if ends is None else ends - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def _wake(self, head: int) -> None:
        with self._lock:
            self._risen = max(self._risen, head)
            self._changed.notify_all()

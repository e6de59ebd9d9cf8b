"""Subscriptions for asyncio: a waiting subscriber is a future in the loop and holds no thread, so thousands may wait."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from sacho.errors import StoreClosed
from sacho.events import Query, RecordedEvent
from sacho.store import Decoding, Feed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType
    from typing import Self

    from sacho.aio.event_store import AsyncEventStore

Batch = tuple[list[RecordedEvent], int]


class Waker:
    """One listener for all subscriptions of a store in one loop, and one read for all who want the same batch."""

    def __init__(self, store: AsyncEventStore, feed: Feed) -> None:
        self.head = 0
        self._store = store
        self._feed = feed
        self._waiting: set[asyncio.Future[None]] = set()
        self._reads: dict[tuple[Decoding, Query, int, int], asyncio.Future[Batch]] = {}
        self._unlisten: Callable[[], None] | None = None
        self._begun: asyncio.Future[int] | None = None

    async def begin(self) -> None:
        """Listen, then look at the head once: whatever comes later is told."""
        if self._begun is None:
            self._unlisten = self._feed.listen(self._wake_from_anywhere)
            self._begun = self._store.call(self._feed.head)
        self._rise(await asyncio.shield(self._begun))

    async def batch(self, decoding: Decoding, query: Query, after: int) -> Batch:
        """Return the next events that match, up to the head, and how far the log was looked through."""
        key = (decoding, query, after, self.head)
        found = self._feed.recent(*key)
        if found is None:
            read = self._reads.get(key)
            if read is None:
                read = self._reads[key] = self._store.call(self._feed.batch, *key)
                read.add_done_callback(lambda _: self._reads.pop(key))
            found = await asyncio.shield(read)
        return found

    async def wait_above(self, position: int) -> None:
        """Wait until the head is above a position, or someone calls `wake`."""
        if self.head <= position:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(waiting)
            try:
                await waiting
            finally:
                self._waiting.discard(waiting)

    def wake(self) -> None:
        """Have all who wait look again."""
        waiting, self._waiting = self._waiting, set()
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def end(self) -> None:
        """Stop listening and wake all who wait."""
        if self._unlisten is not None:
            self._unlisten()
        self.wake()

    def _wake_from_anywhere(self, head: int) -> None:
        self._store.soon(self._rise, head)

    def _rise(self, head: int) -> None:
        if head > self.head:
            self.head = head
            self.wake()


class AsyncSubscription:
    """Events as they are recorded, in order, each once: `async for`, or `await next(timeout=)`."""

    def __init__(self, store: AsyncEventStore, waker: Waker, decoding: Decoding, query: Query, after: int) -> None:
        self._store = store
        self._waker = waker
        self._decoding = decoding
        self._query = query
        self._scanned = after
        self._ready: deque[RecordedEvent] = deque()
        self._closed = False
        self._ended_by_store = False

    @property
    def position(self) -> int:
        """Up to which position of the log everything that matches has been handed out."""
        return self._ready[0].position - 1 if self._ready else self._scanned

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed

    async def next(self, timeout: float | None = None) -> RecordedEvent | None:  # noqa: ASYNC109 - as in the blocking API
        """Return the next event, waiting up to `timeout` seconds (None: without end).

        Returns None if none came in time or the subscription was closed. Raises StoreClosed if the store was closed.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._next()
        except TimeoutError:
            return None

    async def close(self) -> None:
        """End the subscription. Closing twice is fine."""
        self._closed = True
        self._waker.wake()

    def end(self) -> None:
        """End the subscription because its store is closing."""
        self._ended_by_store = not self._closed
        self._closed = True

    async def __aiter__(self) -> AsyncIterator[RecordedEvent]:
        while (recorded := await self._next()) is not None:
            yield recorded

    async def __aenter__(self) -> Self:
        await self._waker.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _next(self) -> RecordedEvent | None:
        await self._waker.begin()
        while not self._closed:
            if self._ready:
                return self._ready.popleft()
            await self._read_on()
        if self._ended_by_store:
            raise StoreClosed
        return None

    async def _read_on(self) -> None:
        await self._waker.wait_above(self._scanned)
        if self._waker.head > self._scanned and not self._closed:
            events, scanned = await self._waker.batch(self._decoding, self._query, self._scanned)
            self._scanned = scanned
            self._ready.extend(events)

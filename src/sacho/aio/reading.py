"""Reads for asyncio: `async for` streams the events, page by page, off the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from typing import TYPE_CHECKING, Any

from sacho.errors import InvalidQuery
from sacho.events import RecordedEvent
from sacho.store import Reading

if TYPE_CHECKING:
    from sacho.aio.event_store import AsyncEventStore


class AsyncReading:
    """The events of one read, in order. `async for` reads them; `await` fixes the head first, to know it before."""

    def __init__(self, store: AsyncEventStore, make: Callable[[], Reading]) -> None:
        self._store = store
        self._make = make
        self._reading: Reading | None = None

    @property
    def head(self) -> int:
        """The log's head when the read began: the reading is complete up to there, and ends there."""
        if self._reading is None:
            raise InvalidQuery("the read has not begun: await it, or iterate it, before asking for its head")
        return self._reading.head

    def __await__(self) -> Generator[Any, None, AsyncReading]:
        return self._begun().__await__()

    async def __aiter__(self) -> AsyncIterator[RecordedEvent]:
        async for page in self.pages():
            for recorded in page:
                yield recorded

    async def pages(self) -> AsyncIterator[list[RecordedEvent]]:
        """Yield the events in lists as they come from the log, up to 2,000 at a time."""
        await self._begun()
        assert self._reading is not None
        pages = self._reading.pages()
        while (page := await self._store.call(next, pages, None)) is not None:
            yield page

    async def _begun(self) -> AsyncReading:
        if self._reading is None:
            self._reading = await self._store.call(self._make)
        return self

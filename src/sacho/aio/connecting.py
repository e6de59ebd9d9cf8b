"""connect_async(): the same as connect(), for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

from sacho.aio.event_store import AsyncEventStore
from sacho.schema import Registry
from sacho.schema.encoding import DEFAULT_MAX_EVENT_BYTES
from sacho.store import EventStore, connect

if TYPE_CHECKING:
    from types import TracebackType


class Connecting:
    """A store that is about to be opened: `async with` it, or `await` it and close the store yourself."""

    def __init__(self, open_store: Callable[[], EventStore]) -> None:
        self._open_store = open_store
        self._store: AsyncEventStore | None = None

    def __await__(self) -> Generator[Any, None, AsyncEventStore]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncEventStore:
        self._store = await self._open()
        return self._store

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._store is not None:
            await self._store.close()

    async def _open(self) -> AsyncEventStore:
        return AsyncEventStore(await asyncio.to_thread(self._open_store))


def connect_async(
    url: str,
    *,
    registry: Registry | None = None,
    require: Iterable[str] = (),
    max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
) -> Connecting:
    """Open the event store at `url` for asyncio: `async with sacho.connect_async(url) as store`.

    Arguments and errors are those of `connect`.
    """
    return Connecting(lambda: connect(url, registry=registry, require=require, max_event_bytes=max_event_bytes))

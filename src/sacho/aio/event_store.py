"""AsyncEventStore: the store for asyncio. Appends are awaited futures of the engine; reads run on a few threads."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID

from sacho.aio.bridging import Bridge, Outbox
from sacho.aio.joining import AsyncJoined
from sacho.aio.reading import AsyncReading
from sacho.aio.subscription import AsyncSubscription, Waker
from sacho.events import ANY, Append, AppendCondition, Appended, ExpectedVersion, Query, RecordedEvent
from sacho.store import note_append
from sacho.store.event_store import EVERYTHING, EventStore, check_range, checked_query

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from sacho.storage.port import CategoryInfo, LogIdentity, StreamInfo

T = TypeVar("T")
P = ParamSpec("P")


class AsyncEventStore:
    """The same as EventStore, awaited; belongs to the event loop it was made in. Made by `sacho.connect_async(url)`.

    Arguments, results and errors are those of the EventStore's methods of the same names. Cancelling or timing out an
    append does not undo it: it may have happened, and the same ids tell.
    """

    def __init__(self, blocking: EventStore) -> None:
        self.blocking = blocking
        self._bridge = Bridge(asyncio.get_running_loop())
        self._outbox = Outbox(self._bridge, blocking.storage)
        self._waker = Waker(self, blocking.feed)
        self._subscriptions: weakref.WeakSet[AsyncSubscription] = weakref.WeakSet()

    async def append(
        self,
        stream: str | None,
        events: Iterable[Any],
        *,
        expected: ExpectedVersion = ANY,
        condition: AppendCondition | None = None,
    ) -> Appended:
        """Append events to a stream, all or none; see EventStore.append."""
        done = (await self._outbox.put(self.blocking.encode(stream, events, expected, condition)))[0]
        note_append(done.position)
        return done

    async def append_many(
        self, appends: Iterable[Append], *, condition: AppendCondition | None = None
    ) -> list[Appended]:
        """Append to several streams in one atomic write; see EventStore.append_many."""
        done = await self._outbox.put(self.blocking.encode_many(appends, condition))
        note_append(done[-1].position)
        return done

    def joined(self, connection: object) -> AsyncJoined:
        """Return an `append` that joins a transaction on an asyncio connection of the application; see EventStore.joined."""
        self.blocking.require(("joined-appends",))
        return AsyncJoined(self.blocking, connection)

    def read(
        self,
        stream: str,
        *,
        after: int = 0,
        to: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
        raw: bool = False,
    ) -> AsyncReading:
        """Read the events of a stream: `async for`; see EventStore.read."""
        return AsyncReading(
            self,
            lambda: self.blocking.read(stream, after=after, to=to, limit=limit, backwards=backwards, raw=raw),
        )

    def read_all(
        self,
        query: Query = EVERYTHING,
        *,
        after: int = 0,
        to: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
        raw: bool = False,
    ) -> AsyncReading:
        """Read the events of the whole log that match: `async for`; see EventStore.read_all."""
        return AsyncReading(
            self,
            lambda: self.blocking.read_all(query, after=after, to=to, limit=limit, backwards=backwards, raw=raw),
        )

    def correlated(self, correlation_id: UUID | str, *, after: int = 0, raw: bool = False) -> AsyncReading:
        """Read the events of one correlation id: `async for`; see EventStore.correlated."""
        return AsyncReading(self, lambda: self.blocking.correlated(correlation_id, after=after, raw=raw))

    async def find(self, event_id: UUID, *, raw: bool = False) -> RecordedEvent | None:
        """Return the event of this id, or None."""
        return await self.call(self.blocking.find, event_id, raw=raw)

    async def head(self) -> int:
        """Return the highest position that a reader of the whole log may be shown; 0 for an empty log."""
        return await self.call(self.blocking.head)

    async def version(self, stream: str) -> int:
        """Return how many events a stream has."""
        return await self.call(self.blocking.version, stream)

    async def position_at(self, moment: datetime) -> int:
        """Return the last position recorded at or before a moment; 0 if there is none."""
        return await self.call(self.blocking.position_at, moment)

    async def streams(
        self, category: str | None = None, *, after: str = "", limit: int | None = None
    ) -> AsyncIterator[StreamInfo]:
        """Yield the streams (of a category) in order of id, each with its version and last time."""
        infos = self.blocking.streams(category, after=after, limit=limit)
        while (info := await self.call(next, infos, None)) is not None:
            yield info

    async def categories(self) -> list[CategoryInfo]:
        """Return the categories in order of name, each with the position and time of its last event."""
        return await self.call(self.blocking.categories)

    def subscribe(self, query: Query = EVERYTHING, *, after: int = 0, raw: bool = False) -> AsyncSubscription:
        """Follow the events that match, those that are there and then each as it is recorded: `async with`."""
        checked_query(query)
        check_range(after, None, None)
        subscription = AsyncSubscription(self, self._waker, self.blocking.decoding(raw=raw), query, after)
        self._subscriptions.add(subscription)
        return subscription

    @property
    def identity(self) -> LogIdentity:
        """The log's id and epoch: a checkpoint belongs to both."""
        return self.blocking.identity

    @property
    def capabilities(self) -> frozenset[str]:
        """What the engine offers, by name."""
        return self.blocking.capabilities

    async def close(self) -> None:
        """End subscriptions, let appends under way finish, release all. Closing twice is fine."""
        for subscription in tuple(self._subscriptions):
            subscription.end()
        self._waker.end()
        self._outbox.send()
        await asyncio.to_thread(self.blocking.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.blocking.url}>"

    def call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Run blocking work on the store's few threads."""
        return self._bridge.call(self.blocking.background, work, *args, **kwargs)

    def soon(self, work: Callable[[int], None], head: int) -> None:
        """Run `work` in the loop, from any thread."""
        self._bridge.soon(work, head)

    @property
    def bridge(self) -> Bridge:
        """The way from the core's threads to this store's loop."""
        return self._bridge

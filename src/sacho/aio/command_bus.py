"""AsyncCommandBus: the command bus for asyncio. The chain is the same; what waits is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sacho.aio.joining import finished
from sacho.deciding.chain import Authorise, Step
from sacho.deciding.dispatch import BUS_RETRY, Dispatch, Front
from sacho.deciding.envelope import Envelope, Origin
from sacho.deciding.outcome import Outcome
from sacho.deciding.retry import Retry
from sacho.deciding.routing import Route, Target, ToDecider
from sacho.deciding.storing import Stored
from sacho.store import note_append
from sacho.store.context import exactly

if TYPE_CHECKING:
    from sacho.aio.event_store import AsyncEventStore
    from sacho.events import Appended, EventData


class AsyncCommandBus(Front):
    """The same as CommandBus, awaited. Cancelling a command that is on its way does not undo it: the same id tells.

    Steps, the `authorise` hook and functions given to `call` may be coroutine functions. Plain steps and hooks run in the
    loop, so they must not wait; plain functions of `call` run on the loop's threads (`asyncio.to_thread`).
    """

    def __init__(
        self,
        store: AsyncEventStore,
        routes: Iterable[Route],
        *,
        authorise: Authorise | None = None,
        steps: Iterable[Step] = (),
        retry: Retry = BUS_RETRY,
    ) -> None:
        self._dispatch = Dispatch(store.blocking, routes, authorise=authorise, steps=steps, retry=retry, may_await=True)
        self._ways = _AwaitedWays(store)

    async def handle(
        self,
        command: Any,
        *,
        command_id: UUID | str | None = None,
        actor: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: Origin = "caller",
    ) -> Outcome:
        """Handle one command and return its outcome, once its events are durable; see CommandBus.handle."""
        outcome = await finished(self._dispatch.handling(self._ways, command, command_id, actor, metadata, origin))
        note_append(outcome.position)
        return outcome

    async def store(
        self,
        command: Any,
        *,
        at: datetime | None = None,
        command_id: UUID | str | None = None,
        key: str | None = None,
        actor: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: Origin = "caller",
    ) -> Stored:
        """Put a command into the log, to be handled by a worker as soon as it can, or `at` a time; see CommandBus.store."""
        return await finished(self._dispatch.storing(self._ways, command, at, command_id, key, actor, metadata, origin))

    async def replace(
        self,
        command_id: UUID | str,
        command: Any,
        *,
        at: datetime | None = None,
        key: str | None = None,
        actor: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: Origin = "caller",
    ) -> Stored | None:
        """Put another command, or another time, in the place of a stored one; see CommandBus.replace."""
        return await finished(
            self._dispatch.replacing(self._ways, command, at, command_id, key, actor, metadata, origin)
        )

    async def withdraw(self, command_id: UUID | str) -> bool:
        """Take back a stored command; return False if it was due or withdrawn already; see CommandBus.withdraw."""
        return await finished(self._dispatch.withdrawing(self._ways, command_id))


class _AwaitedWays:
    """Gives what waits to the loop."""

    pause = staticmethod(asyncio.sleep)

    def __init__(self, store: AsyncEventStore) -> None:
        self._store = store

    def handle(self, target: Target, envelope: Envelope, *, is_new: bool) -> Awaitable[Outcome]:
        if isinstance(target, ToDecider):
            waiter, tell = self._store.bridge.expect()
            target.hand_in(envelope, tell, is_new=is_new)
            return waiter
        if target.is_async:
            return target.awaited(envelope)
        return asyncio.to_thread(target.handle, envelope, is_new=is_new)

    async def append(self, stream: str, event: EventData, expected: int) -> Appended:
        with exactly(event.metadata):
            return await self._store.append(stream, [event], expected=expected)

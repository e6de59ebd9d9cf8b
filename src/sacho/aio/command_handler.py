"""AsyncCommandHandler: commands for asyncio. Those that wait for one stream share one hop to a thread and one commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import UUID

from sacho.deciding import CommandHandler, Decider, Loaded, Outcome, Retry
from sacho.deciding.command_handler import DEFAULT_CACHE_SIZE
from sacho.store import note_append

if TYPE_CHECKING:
    from sacho.aio.event_store import AsyncEventStore

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")


class AsyncCommandHandler(Generic[C, S, E]):
    """The same as CommandHandler, awaited. Cancelling a command that is on its way does not undo it."""

    def __init__(
        self,
        store: AsyncEventStore,
        decider: Decider[C, S, E],
        *,
        retry: Retry = Retry(),  # noqa: B008 - a frozen value
        cache_size: int = DEFAULT_CACHE_SIZE,
    ) -> None:
        self.store = store
        self.blocking = CommandHandler(store.blocking, decider, retry=retry, cache_size=cache_size)

    async def handle(self, stream: str, command: C, *, command_id: UUID | str | None = None) -> Outcome:
        """Handle one command and return its outcome, once its events are durable; see CommandHandler.handle."""
        waiter, tell = self.store.bridge.expect()
        self.blocking.hand_in(stream, command, tell, command_id=command_id)
        outcome: Outcome = await waiter
        note_append(outcome.position)
        return outcome

    async def load(self, stream: str, *, to: int | None = None) -> Loaded[S]:
        """Return the state folded from the stream's events, now or as of version `to`."""
        return await self.store.call(self.blocking.load, stream, to=to)

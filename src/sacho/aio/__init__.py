"""The asyncio face of Sacho: the same names, awaited. No logic of its own: it awaits what the blocking core does."""

from sacho.aio.command_bus import AsyncCommandBus
from sacho.aio.command_handler import AsyncCommandHandler
from sacho.aio.connecting import connect_async
from sacho.aio.event_store import AsyncEventStore
from sacho.aio.reading import AsyncReading
from sacho.aio.subscription import AsyncSubscription

__all__ = [
    "AsyncCommandBus",
    "AsyncCommandHandler",
    "AsyncEventStore",
    "AsyncReading",
    "AsyncSubscription",
    "connect_async",
]

"""Appends that join a transaction of the application, for asyncio; see sacho.store.joining."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from sacho.events import ANY, Append, AppendCondition, Appended, ExpectedVersion

if TYPE_CHECKING:
    from sacho.storage.port import Joining
    from sacho.store import EventStore


class AsyncJoined:
    """Appends through one asyncio connection of the application. Made by `store.joined(connection)`."""

    def __init__(self, store: EventStore, connection: object) -> None:
        self._store = store
        self._connection = connection

    async def append(
        self,
        stream: str | None,
        events: Iterable[Any],
        *,
        expected: ExpectedVersion = ANY,
        condition: AppendCondition | None = None,
    ) -> Appended:
        """Append within the transaction; see sacho.store.Joined.append."""
        write = self._store.encode(stream, events, expected, condition)
        return (await _finished(self._store.storage.join(self._connection, write, is_async=True)))[0]

    async def append_many(
        self, appends: Iterable[Append], *, condition: AppendCondition | None = None
    ) -> list[Appended]:
        """Append to several streams within the transaction; see EventStore.append_many."""
        write = self._store.encode_many(appends, condition)
        return await _finished(self._store.storage.join(self._connection, write, is_async=True))


async def _finished(joining: Joining) -> list[Appended]:
    """Go through the steps of a joined append; return its result."""
    go_on: Callable[[], Callable[[], Any]] = joining.__next__
    while True:
        try:
            step = go_on()
        except StopIteration as done:
            appended: list[Appended] = done.value
            return appended
        try:
            go_on = partial(joining.send, await step())
        except Exception as error:
            go_on = partial(joining.throw, error)

"""Appends that join a transaction of the application, for asyncio; see sacho.store.joining."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar

from sacho.events import ANY, Append, AppendCondition, Appended, ExpectedVersion

if TYPE_CHECKING:
    from sacho.store import EventStore

T = TypeVar("T")


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
        return (await finished(self._store.storage.join(self._connection, write, is_async=True)))[0]

    async def append_many(
        self, appends: Iterable[Append], *, condition: AppendCondition | None = None
    ) -> list[Appended]:
        """Append to several streams within the transaction; see EventStore.append_many."""
        write = self._store.encode_many(appends, condition)
        return await finished(self._store.storage.join(self._connection, write, is_async=True))


async def finished(steps: Generator[Callable[[], Any], Any, T]) -> T:
    """Go through work that is done in steps: call what it yields, await that where it can be; return its result."""
    go_on: Callable[[Any], Callable[[], Any]] = steps.send
    came: Any = None
    while True:
        try:
            step = go_on(came)
        except StopIteration as done:
            result: T = done.value
            return result
        try:
            made = step()
            go_on, came = steps.send, (await made if isawaitable(made) else made)
        except Exception as error:
            go_on, came = steps.throw, error

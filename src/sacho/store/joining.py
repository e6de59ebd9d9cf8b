"""Appends that join a transaction of the application: its own tables and the events commit together, or neither."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from sacho.events import ANY, Append, AppendCondition, Appended, ExpectedVersion

if TYPE_CHECKING:
    from sacho.store.event_store import EventStore

T = TypeVar("T")


class Joined:
    """Appends through one connection of the application. Made by `store.joined(connection)`."""

    def __init__(self, store: EventStore, connection: object) -> None:
        self._store = store
        self._connection = connection

    def append(
        self,
        stream: str | None,
        events: Iterable[Any],
        *,
        expected: ExpectedVersion = ANY,
        condition: AppendCondition | None = None,
    ) -> Appended:
        """Append within the transaction; see EventStore.append.

        What it returns holds if the transaction commits. After a Conflict the transaction may be used on; after a
        StorageError it is rolled back.
        """
        write = self._store.encode(stream, events, expected, condition)
        return finished(self._store.storage.join(self._connection, write, is_async=False))[0]

    def append_many(self, appends: Iterable[Append], *, condition: AppendCondition | None = None) -> list[Appended]:
        """Append to several streams within the transaction; see EventStore.append_many."""
        write = self._store.encode_many(appends, condition)
        return finished(self._store.storage.join(self._connection, write, is_async=False))


def finished(steps: Generator[Callable[[], Any], Any, T]) -> T:
    """Go through work that is done in steps: call what it yields, send what that returns; return its result."""
    go_on: Callable[[Any], Callable[[], Any]] = steps.send
    came: Any = None
    while True:
        try:
            step = go_on(came)
        except StopIteration as done:
            result: T = done.value
            return result
        try:
            go_on, came = steps.send, step()
        except Exception as error:
            go_on, came = steps.throw, error

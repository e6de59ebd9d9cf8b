"""From the core's threads to an event loop: futures that finish together wake the loop once, not once each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sacho.errors import SachoError

if TYPE_CHECKING:
    from sacho.events import Appended, Write
    from sacho.storage.port import Storage

T = TypeVar("T")
P = ParamSpec("P")


class Bridge:
    """The way back to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._told: deque[tuple[Sequence[asyncio.Future[Any]], Sequence[Any]]] = deque()
        self._is_coming = False

    def expect(self) -> tuple[asyncio.Future[Any], Callable[[Any], Callable[[], None]]]:
        """Return a future of the loop, and what takes its result or error from any thread and returns the `flush`.

        What was told reaches the loop when `flush` is called, once for all that were told together.
        """
        waiter: asyncio.Future[Any] = self.loop.create_future()
        return waiter, lambda result: self._tell(waiter, result)

    def call(self, executor: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Run `work` on the executor and return the loop's future for it. Cancelling it leaves the work alone."""
        waiter, tell = self.expect()
        executor.submit(work, *args, **kwargs).add_done_callback(lambda done: tell(done.exception() or done.result())())
        return waiter

    def soon(self, work: Callable[[int], None], value: int) -> None:
        """Run `work(value)` in the loop, from any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(work, value)

    def tell_all(self, waiters: Sequence[asyncio.Future[Any]], results: Sequence[Any]) -> None:
        """Give futures of the loop their results or errors, from any thread."""
        self._told.append((waiters, results))
        self.flush()

    def flush(self) -> None:
        """Wake the loop for all that was told."""
        if not self._is_coming:
            self._is_coming = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(self._come)

    def _tell(self, waiter: asyncio.Future[Any], result: Any) -> Callable[[], None]:
        self._told.append(((waiter,), (result,)))
        return self.flush

    def _come(self) -> None:
        self._is_coming = False
        while self._told:
            for waiter, result in zip(*self._told.popleft(), strict=True):
                if waiter.done():
                    continue
                if isinstance(result, BaseException):
                    waiter.set_exception(_as_runtime_error(result) if isinstance(result, StopIteration) else result)
                else:
                    waiter.set_result(result)


class Outbox:
    """Writes of one loop on their way to the engine: those of one turn of the loop are handed in together."""

    def __init__(self, bridge: Bridge, storage: Storage) -> None:
        self._bridge = bridge
        self._storage = storage
        self._writes: list[Write] = []
        self._waiters: list[asyncio.Future[list[Appended]]] = []

    def put(self, write: Write) -> asyncio.Future[list[Appended]]:
        """Return the loop's future for a write, which is handed in before the loop's next turn."""
        waiter: asyncio.Future[list[Appended]] = self._bridge.loop.create_future()
        if not self._writes:
            self._bridge.loop.call_soon(self.send)
        self._writes.append(write)
        self._waiters.append(waiter)
        return waiter

    def send(self) -> None:
        """Hand in what is there."""
        writes, waiters = self._writes, self._waiters
        self._writes, self._waiters = [], []
        if writes:
            try:
                self._storage.hand_in(writes, partial(self._bridge.tell_all, waiters))
            except SachoError as error:
                self._bridge.tell_all(waiters, [error] * len(waiters))


def _as_runtime_error(stop: StopIteration) -> RuntimeError:
    """Return what a coroutine makes of a StopIteration that comes out of it; a future cannot carry one."""
    error = RuntimeError("the work raised StopIteration")
    error.__cause__ = stop
    return error

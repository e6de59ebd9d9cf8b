"""From the core's threads to an event loop: futures that finish together wake the loop once, not once each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class Bridge:
    """The way back to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._finished: deque[tuple[Future[Any], asyncio.Future[Any]]] = deque()
        self._is_coming = False

    def wait(self, future: Future[T]) -> asyncio.Future[T]:
        """Return the loop's future for one of the core's. Cancelling it leaves the core's alone."""
        waiter: asyncio.Future[T] = self.loop.create_future()
        future.add_done_callback(lambda done: self._finish(done, waiter))
        return waiter

    def call(self, executor: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Run `work` on the executor and return the loop's future for it."""
        return self.wait(executor.submit(work, *args, **kwargs))

    def soon(self, work: Callable[[int], None], value: int) -> None:
        """Run `work(value)` in the loop, from any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(work, value)

    def _finish(self, done: Future[Any], waiter: asyncio.Future[Any]) -> None:
        self._finished.append((done, waiter))
        if not self._is_coming:
            self._is_coming = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._is_coming = False
        while self._finished:
            done, waiter = self._finished.popleft()
            if waiter.done():
                continue
            if (error := done.exception()) is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(done.result())

"""Looping: an event loop in a thread of its own, behind blocking calls, for clients that are asyncio only."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sacho.reacting.messaging.message import Message
from sacho.reacting.messaging.target import Outcome

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

T = TypeVar("T")


class LoopThread:
    """Runs coroutines in one loop; its thread begins with the first. After a fork the child begins one of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._lock = threading.Lock()

    @property
    def is_begun(self) -> bool:
        """Whether there is a loop in this process."""
        return self._loop is not None and self._pid == os.getpid()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, and return what it does; called by any thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._begun()).result()

    def close(self) -> None:
        """End the loop and its thread. The next call begins another."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None and self._pid == os.getpid():
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _begun(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._pid, self._loop = os.getpid(), asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop


class LoopTarget:
    """A target whose client is asyncio: it has a loop in a thread of its own, begun when it is first used."""

    def __init__(self, thread: str) -> None:
        self._loop = LoopThread(thread)

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """Send messages, those of different keys together; return what became of each."""
        return self._loop.run(self._send(messages))

    def close(self) -> None:
        """Close the connections. The next message opens others."""
        if self._loop.is_begun:
            self._loop.run(self._closed())
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- in the loop, by each kind of target ----------------------------------------------------------

    async def _send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        raise NotImplementedError

    async def _closed(self) -> None:
        raise NotImplementedError


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        with suppress(Exception):
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

"""A store that has no threads: what others would do in the background is done at once, so that order is not left to chance."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sacho.schema import Encoding
from sacho.storage.port import Storage
from sacho.store import EventStore


class AtOnce(ThreadPoolExecutor):
    """Does what it is given before it returns."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        """Do it; the future has what came of it."""
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args, **named))
        except BaseException as error:
            future.set_exception(error)
        return future


class InlineStore(EventStore):
    """An event store that does all in the thread of who asks."""

    def __init__(self, storage: Storage, encoding: Encoding) -> None:
        super().__init__(storage, encoding, "memory://")
        self._at_once = AtOnce(max_workers=1)

    @property
    def background(self) -> ThreadPoolExecutor:
        """No threads."""
        return self._at_once

    @property
    def errands(self) -> ThreadPoolExecutor:
        """No threads."""
        return self._at_once

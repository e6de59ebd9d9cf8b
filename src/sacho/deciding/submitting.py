"""Commands that nobody's thread waits for: their steps go on wherever what they wait for comes to an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sacho.deciding.outcome import Outcome
from sacho.deciding.round import is_interrupt
from sacho.deciding.routing import ToDecider, ToFunction

if TYPE_CHECKING:
    from sacho.deciding.chain import Steps
    from sacho.deciding.envelope import Envelope
    from sacho.store import EventStore

T = TypeVar("T")


class BackgroundWays:
    """Does on other threads what waits, and returns futures."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._context = copy_context()

    def handle(self, target: ToDecider | ToFunction, envelope: Envelope, *, is_new: bool) -> Future[Outcome]:
        """Begin to handle a command."""
        if isinstance(target, ToDecider):
            return target.submit(envelope, is_new=is_new)
        work = partial(target.handle, envelope, is_new=is_new)
        return self._store.errands.submit(self._context.copy().run, work)

    def pause(self, seconds: float) -> Future[None]:
        """Begin to wait. Those who wait for a thread meanwhile have that counted."""
        return self._store.errands.submit(_sleep_until, time.monotonic() + seconds)


class Submitted(Generic[T]):
    """Work in steps whose futures are waited for by nobody; `future` has what it comes to."""

    def __init__(self, steps: Steps[T]) -> None:
        self.future: Future[T] = Future()
        self.future.set_running_or_notify_cancel()
        self._steps = steps

    def begin(self) -> Future[T]:
        """Go through the steps, as far as there is nothing to wait for."""
        self._go_on(self._steps.__next__)
        return self.future

    def _go_on(self, go_on: Callable[[], Callable[[], Any]]) -> None:
        while True:
            try:
                step = go_on()
            except StopIteration as done:
                self.future.set_result(done.value)
                return
            except BaseException as error:
                self.future.set_exception(error)
                if is_interrupt(error):
                    raise
                return
            try:
                made = step()
            except Exception as error:
                go_on = partial(self._steps.throw, error)
                continue
            if isinstance(made, Future):
                made.add_done_callback(self._resume)
                return
            go_on = partial(self._steps.send, made)

    def _resume(self, done: Future[Any]) -> None:
        error = done.exception()
        self._go_on(partial(self._steps.send, done.result()) if error is None else partial(self._steps.throw, error))


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))

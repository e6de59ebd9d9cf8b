"""Commands that nobody's thread waits for: their steps go on wherever what they wait for comes to an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sacho.deciding.round import is_interrupt
from sacho.deciding.routing import ToDecider, ToFunction

if TYPE_CHECKING:
    from sacho.deciding.chain import Steps
    from sacho.deciding.envelope import Envelope
    from sacho.deciding.lane import TellOutcome
    from sacho.store import EventStore

T = TypeVar("T")


class Begun:
    """Work that goes on elsewhere: `begin` takes what is to be told its result or error, by any thread."""

    __slots__ = ("begin",)

    def __init__(self, begin: Callable[[TellOutcome], object]) -> None:
        self.begin = begin


class BackgroundWays:
    """Does on other threads what waits."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._context = copy_context()

    def handle(self, target: ToDecider | ToFunction, envelope: Envelope, *, is_new: bool) -> Begun:
        """Return the handling of a command."""
        if isinstance(target, ToDecider):
            return Begun(partial(target.hand_in, envelope, is_new=is_new))
        return self._errand(self._context.copy().run, partial(target.handle, envelope, is_new=is_new))

    def pause(self, seconds: float) -> Begun:
        """Return a wait. Those who wait for a thread meanwhile have that counted."""
        return self._errand(_sleep_until, time.monotonic() + seconds)

    def _errand(self, work: Callable[..., Any], *args: Any) -> Begun:
        def begin(tell: TellOutcome) -> None:
            self._store.errands.submit(work, *args).add_done_callback(
                lambda done: tell(done.exception() or done.result())
            )

        return Begun(begin)


class Submitted(Generic[T]):
    """Work in steps that nobody waits for; `future` has what it comes to."""

    def __init__(self, steps: Steps[T]) -> None:
        self.future: Future[T] = Future()
        self.future.set_running_or_notify_cancel()
        self._steps = steps

    def begin(self) -> Future[T]:
        """Go through the steps, as far as there is nothing to wait for."""
        self._go_on(self._steps.send, None)
        return self.future

    def _go_on(self, go_on: Callable[[Any], Callable[[], Any]], came: Any) -> None:
        while True:
            try:
                step = go_on(came)
            except StopIteration as done:
                self.future.set_result(done.value)
                return
            except BaseException as error:
                self.future.set_exception(error)
                if is_interrupt(error):
                    raise
                return
            try:
                go_on, came = self._steps.send, step()
                if isinstance(came, Begun):
                    came.begin(self._told)
                    return
            except Exception as error:
                go_on, came = self._steps.throw, error

    def _told(self, result: Any) -> None:
        self._go_on(self._steps.throw if isinstance(result, BaseException) else self._steps.send, result)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))

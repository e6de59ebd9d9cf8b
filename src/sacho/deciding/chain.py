"""The one chain that every command goes through, whether it is awaited or not.

In this order: `validate`, the user's own steps, `authorise`, `correlate`, then `retry` around `handle once`. Each step takes an Envelope and returns one, or raises, and then nothing after it happens. The chain itself does nothing
that waits: it yields what is to be called, and whoever drives it calls or awaits that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from sacho.deciding.checking import Checks
from sacho.deciding.envelope import Envelope
from sacho.deciding.outcome import Outcome
from sacho.deciding.retry import Retry
from sacho.deciding.routing import Target, drop, is_async, name_of
from sacho.errors import InvalidRoute, NotAuthorised, StorageBusy, StorageError, StorageUnreachable
from sacho.events import Appended, EventData

T = TypeVar("T")

Steps: TypeAlias = Generator[Callable[[], Any], Any, T]
"""Work in steps: call what it yields (await that, if it can be awaited), and send the result."""

Step: TypeAlias = Callable[[Envelope], "Envelope | Awaitable[Envelope]"]
Authorise: TypeAlias = Callable[[Envelope], "bool | Awaitable[bool | None] | None"]


class HandlingWays(Protocol):
    """How what handling a command waits for is done: at once, awaited, or elsewhere."""

    def handle(self, target: Target, envelope: Envelope, *, is_new: bool) -> Any:
        """Handle a command, once; comes to an Outcome."""
        ...

    def pause(self, seconds: float) -> Any:
        """Wait."""
        ...


class Ways(HandlingWays, Protocol):
    """How all is done that a bus waits for."""

    def append(self, stream: str, event: EventData, expected: int) -> Any:
        """Append one event; comes to an Appended."""
        ...


class Chain:
    """The steps of one bus before a command is handled, and the retries around that."""

    def __init__(self, steps: Iterable[Step], authorise: Authorise | None, retry: Retry, *, may_await: bool) -> None:
        self.retry = retry
        self._validate = Checks()
        self._own = tuple(_checked_step(step, "step", may_await=may_await) for step in steps)
        self._authorise = authorise and _checked_step(authorise, "authorise hook", may_await=may_await)
        authorising = () if authorise is None else ("authorise",)
        self.names = ("validate", *map(name_of, self._own), *authorising, "correlate", "retry", "handle once")

    def passed(self, envelope: Envelope) -> Steps[Envelope]:
        """Let an envelope go through all steps before `retry`; return what comes out."""
        self._validate(envelope.command)
        for step in self._own:
            envelope = _envelope_of(step, (yield partial(step, envelope)))
        if self._authorise is not None:
            _check_answer(envelope, (yield partial(self._authorise, envelope)))
        return _correlated(envelope)

    def handled(self, ways: HandlingWays, target: Target, envelope: Envelope, *, is_new: bool) -> Steps[Outcome]:
        """Handle a command once, again and again where the log does not answer."""
        try:
            outcome: Outcome = yield partial(ways.handle, target, envelope, is_new=is_new)
        except StorageError as error:
            outcome = yield from self._again(ways, partial(ways.handle, target, envelope, is_new=False), error)
        return outcome

    def appended(self, ways: Ways, stream: str, event: EventData, expected: int) -> Steps[Appended]:
        """Append one event, whose id makes that happen once, again and again where the log does not answer."""
        append = partial(ways.append, stream, event, expected)
        try:
            appended: Appended = yield append
        except StorageError as error:
            appended = yield from self._again(ways, append, error)
        return appended

    def _again(self, ways: HandlingWays, work: Callable[[], Any], error: StorageError) -> Steps[Any]:
        """Do the same once more, as often as may help and is allowed."""
        failures = 1
        while failures < self.retry.attempts and _passes(error):
            yield partial(ways.pause, self.retry.pause(failures))
            try:
                return (yield work)
            except StorageError as another:
                error, failures = another, failures + 1
        raise error


def _passes(error: StorageError) -> bool:
    """Tell whether the same may go well a little later, or has to be repeated to learn what became of it."""
    return isinstance(error, StorageBusy | StorageUnreachable) or error.may_have_happened


def _correlated(envelope: Envelope) -> Envelope:
    """Say in the metadata where the command's events come from: what the surroundings name, else the command itself."""
    metadata = {"correlation_id": envelope.id, "causation_id": envelope.id, **envelope.metadata}
    if envelope.actor is not None:
        metadata["actor"] = envelope.actor
    else:
        metadata.pop("actor", None)
    return Envelope(envelope.command, envelope.id, envelope.actor, metadata, envelope.origin)


def _check_answer(envelope: Envelope, answer: object) -> None:
    """Raise NotAuthorised unless the hook let the command pass; an answer that means nothing lets nothing pass."""
    if answer is False:
        raise NotAuthorised(envelope.command, envelope.actor)
    if answer is not None and answer is not True:
        drop(answer)
        raise InvalidRoute(f"the authorise hook returned {answer!r}; return None or True, or False to refuse")


def _envelope_of(step: Step, result: object) -> Envelope:
    if not isinstance(result, Envelope):
        drop(result)
        raise InvalidRoute(f"the step {name_of(step)!r} returned {result!r}; return an Envelope")
    return result


def _checked_step(step: Any, what: str, *, may_await: bool) -> Any:
    if not callable(step):
        raise InvalidRoute(f"the {what} {step!r} cannot be called with an envelope")
    if not may_await and is_async(step):
        raise InvalidRoute(f"the {what} {name_of(step)!r} is a coroutine function; give it to an AsyncCommandBus")
    return step

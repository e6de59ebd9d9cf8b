"""Which handler takes which commands: `route` to a decider, `call` to a function; one route for each type of command."""

from __future__ import annotations

import inspect
import types
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, Union, get_args, get_origin

from sacho.deciding.command_handler import DEFAULT_CACHE_SIZE, CommandHandler
from sacho.deciding.outcome import Outcome
from sacho.deciding.retry import Retry
from sacho.deciding.round import first_event_id
from sacho.errors import DuplicateRoute, InvalidRoute, NoHandler
from sacho.store.context import exactly
from sacho.store.ids import derived_id

if TYPE_CHECKING:
    from sacho.deciding.decider import Decider
    from sacho.deciding.envelope import Envelope
    from sacho.deciding.lane import TellOutcome
    from sacho.store import EventStore

_NO_COMMANDS: Final = (type(None), object, Any)

CommandFunction: TypeAlias = Callable[[Any, "Envelope"], "Awaitable[None] | None"]

NOTHING_RECORDED: Final = Outcome("", 0, 0, ())
"""The outcome of a command that a function has taken: no stream and no events of its own."""


class Route:
    """Which commands go to a handler; made by `route` or `call`."""

    commands: tuple[type, ...]

    def bound(self, store: EventStore) -> Target:
        """Return what handles the commands of this route on a store."""
        raise NotImplementedError


class DeciderRoute(Route):
    """A route to a decider; made by `route`."""

    def __init__(
        self,
        decider: Decider[Any, Any, Any],
        commands: Any,
        stream: Callable[[Any], str],
        retry: Retry,
        cache_size: int,
    ) -> None:
        self.commands = command_types(commands)
        self.decider = decider
        self.stream = stream
        self.retry = retry
        self.cache_size = cache_size
        if not callable(stream):
            raise InvalidRoute(f"{self}: stream={stream!r} is no function that takes a command and returns a stream id")

    def __str__(self) -> str:
        return f"route({type(self.decider).__name__})"

    def bound(self, store: EventStore) -> ToDecider:
        """Return what handles the commands of this route on a store."""
        handler = CommandHandler(store, self.decider, retry=self.retry, cache_size=self.cache_size)
        return ToDecider(handler, self.stream)


class FunctionRoute(Route):
    """A route to a function; made by `call`."""

    def __init__(self, function: CommandFunction, commands: Any) -> None:
        self.commands = command_types(commands)
        self.function = function
        if not callable(function):
            raise InvalidRoute(f"{self}: {function!r} is no function that takes a command and its envelope")

    def __str__(self) -> str:
        return f"call({name_of(self.function)})"

    def bound(self, store: EventStore) -> ToFunction:
        """Return what handles the commands of this route."""
        return ToFunction(self.function)


def route(
    decider: Decider[Any, Any, Any],
    commands: Any,
    *,
    stream: Callable[[Any], str],
    retry: Retry = Retry(),  # noqa: B008 - a frozen value
    cache_size: int = DEFAULT_CACHE_SIZE,
) -> DeciderRoute:
    """Let a decider take these commands: a class, several in a tuple, or a union.

    `stream` returns the id of the stream that a command is about. `retry` bounds deciding again after conflicts, and
    `cache_size` how many folded states are kept, as in CommandHandler. Raises InvalidRoute.
    """
    return DeciderRoute(decider, commands, stream, retry, cache_size)


def call(function: CommandFunction, *commands: Any) -> FunctionRoute:
    """Let a function take these commands, for effects outside the log: `function(command, envelope)`.

    It may be called more than once for one command, so it must be idempotent by `envelope.id`. What it raises reaches
    the caller. In an AsyncCommandBus it may be a coroutine function. Raises InvalidRoute.
    """
    return FunctionRoute(function, commands)


class RefusalId(NamedTuple):
    """The id of the event that tells of a command's refusal, and whether the log then excludes that the command has events."""

    id: bytes
    excludes: bool


class ToDecider:
    """Handles commands by a CommandHandler of its own."""

    def __init__(self, handler: CommandHandler[Any, Any, Any], stream: Callable[[Any], str]) -> None:
        self.handler = handler
        self.stream = stream

    def handle(self, envelope: Envelope, *, is_new: bool) -> Outcome:
        """Handle a command, once."""
        command = envelope.command
        with exactly(envelope.metadata):
            return self.handler.handle(self.stream(command), command, command_id=envelope.id, is_new=is_new)

    def hand_in(self, envelope: Envelope, tell: TellOutcome, *, is_new: bool) -> None:
        """Begin to handle a command; `tell` gets its outcome or error, by any thread."""
        command = envelope.command
        with exactly(envelope.metadata):
            self.handler.hand_in(self.stream(command), command, tell, command_id=envelope.id, is_new=is_new)

    def key(self, envelope: Envelope) -> str:
        """Return what commands that must keep their order have in common."""
        return self.stream(envelope.command)

    def refusal(self, command: Any, command_id: str) -> RefusalId:
        """Return the id for the event that tells of a refusal: that of the command's first event, so that only one of them can be."""
        return RefusalId(first_event_id(command_id, self.stream(command)), excludes=True)


class ToFunction:
    """Handles commands by a function."""

    def __init__(self, function: CommandFunction) -> None:
        self.function = function
        self.is_async = is_async(function)

    def handle(self, envelope: Envelope, *, is_new: bool) -> Outcome:
        """Call the function."""
        with exactly(envelope.metadata):
            result = self.function(envelope.command, envelope)
        if inspect.isawaitable(result):
            drop(result)
            raise InvalidRoute(f"call({name_of(self.function)}) returned an awaitable where nobody awaits it")
        return NOTHING_RECORDED

    async def awaited(self, envelope: Envelope) -> Outcome:
        """Await the function, which is a coroutine function."""
        with exactly(envelope.metadata):
            await self.function(envelope.command, envelope)  # type: ignore[misc]  # it is one
        return NOTHING_RECORDED

    def key(self, envelope: Envelope) -> str:
        """Return what commands that must keep their order have in common: nothing."""
        return envelope.id

    def refusal(self, command: Any, command_id: str) -> RefusalId:
        """Return the id for the event that tells of a refusal. What a function does is not in the log, so it excludes nothing."""
        return RefusalId(derived_id(command_id, "turned down"), excludes=False)


Target: TypeAlias = ToDecider | ToFunction


class Routes:
    """The routes of one bus, by type of command and by its name. Raises DuplicateRoute or InvalidRoute when made."""

    def __init__(self, store: EventStore, routes: Iterable[Route], *, may_await: bool) -> None:
        self._targets: dict[type, Target] = {}
        self._classes: dict[str, type] = {}
        owners: dict[str, Route] = {}
        if not isinstance(routes, Iterable):
            raise InvalidRoute(f"routes={routes} is no list of routes; write [route(...), call(...)]")
        for one in routes:
            if not isinstance(one, Route):
                raise InvalidRoute(f"{one!r} is no route; write route(decider, commands, stream=...) or call(...)")
            target = one.bound(store)
            if isinstance(target, ToFunction) and target.is_async and not may_await:
                raise InvalidRoute(f"{one} is a coroutine function; give it to an AsyncCommandBus")
            for cls in one.commands:
                first, known = owners.setdefault(cls.__name__, one), self._classes.setdefault(cls.__name__, cls)
                if first is not one or known is not cls:
                    raise DuplicateRoute(cls, first, one)
                self._targets[cls] = target

    def target(self, command: object) -> Target:
        """Return what handles this command. Raises NoHandler."""
        target = self._targets.get(type(command))
        if target is None:
            raise NoHandler(command, self._classes)
        return target

    def command_type(self, name: str) -> type:
        """Return the class of a command by its name. Raises NoHandler."""
        cls = self._classes.get(name)
        if cls is None:
            raise NoHandler(name, self._classes)
        return cls


def command_types(commands: Any) -> tuple[type, ...]:
    """Return the classes that a class, a tuple or a union names. Raises InvalidRoute."""
    found = tuple(dict.fromkeys(_types(commands)))
    if not found:
        raise InvalidRoute("a route without commands; name their classes")
    return found


def is_async(function: Any) -> bool:
    """Tell whether calling this gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def name_of(function: Any) -> str:
    """Return what a function, or an object that stands for one, is called."""
    for name in (getattr(function, "name", None), getattr(function, "__name__", None)):
        if isinstance(name, str):
            return name
    return type(function).__name__


def _types(commands: Any) -> Iterator[type]:
    if isinstance(commands, tuple):
        for one in commands:
            yield from _types(one)
    elif get_origin(commands) in {Union, types.UnionType}:
        yield from _types(get_args(commands))
    elif hasattr(commands, "__value__"):
        yield from _types(commands.__value__)
    elif isinstance(commands, type) and commands not in _NO_COMMANDS and get_origin(commands) is None:
        yield commands
    else:
        raise InvalidRoute(f"{commands!r} is no class of commands; name classes, or a tuple or union of them")


def drop(result: object) -> None:
    """End a coroutine that was never begun, so that nothing is said of it at exit."""
    if inspect.iscoroutine(result):
        result.close()

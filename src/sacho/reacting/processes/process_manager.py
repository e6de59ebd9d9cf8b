"""ProcessManager: one event leads to the next step, across entities and time. Written like a decider, over events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec

from sacho.errors import InvalidConsumer, InvalidName
from sacho.events import CommandTurnedDown, DeadlinePassed, Query, QueryItem, RecordedEvent, deadline_stream, stream_id
from sacho.reacting.consumer import Consumer
from sacho.reacting.declaring import class_parameter
from sacho.reacting.processes.advancing import Advancing
from sacho.reacting.processes.declaring import Kind, Takes, taken_by
from sacho.reacting.processes.reactions import Moment, Reaction
from sacho.reacting.taking import Commits, Surroundings, Taking

S = TypeVar("S")

_SURELY_FITS: Final = 50


class ProcessManager(Consumer, Generic[S]):
    """Processes of one kind, each of a key, with a state in its own stream: `class Registration(ProcessManager[State])`.

    `initial` is the state before the first event, a frozen struct. Methods are marked by what they take and whose it is,

        @starts(OrderPlaced, key="order_id")
        def placed(self, event: OrderPlaced, state: State, moment: Moment) -> Iterator[Reaction]:
            yield Send(MakeReservation(...))
            yield SetDeadline("payment", moment.now + timedelta(minutes=15))
            yield Become(State("awaiting"))

    `@continues(...)`, `@on_deadline("payment")` (with a DeadlinePassed) and `@on_refusal(ConfirmOrder)` (with a
    CommandTurnedDown); they yield reactions, or nothing. They have no effects of their own, and ask nobody but the event,
    the state and the moment.

    What a step leads to is recorded in one append: the input's position, the new state, commands and deadlines. So a crash
    at any instant neither loses nor doubles a step. Commands go out at least once, under ids that stay the same, and are
    handled once. The stream of a process is `category-key`; `category` is the name, with `_` for `-`, unless it is given.
    """

    partitions = 8
    independent_keys = True
    initial: S
    category: ClassVar[str] = ""
    state_class: ClassVar[Any] = None
    takes: ClassVar[Mapping[tuple[Kind, str], Takes]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.handlers:
            raise InvalidConsumer(
                cls.__qualname__,
                "a process manager marks its methods by @starts, @continues, @on_deadline, @on_refusal",
            )
        cls.takes = taken_by(cls)
        cls.category = vars(cls).get("category") or cls.name.replace("-", "_")
        cls.state_class = class_parameter(cls) or cls.state_class
        _check(cls)

    @classmethod
    def events(cls) -> Query:
        """Return its inputs: the events that are declared, its deadlines that have passed, its commands refused."""
        names = sorted(name for kind, name in cls.takes if kind == "event")
        own = [*_own(cls, "deadline", DeadlinePassed), *_own(cls, "refusal", CommandTurnedDown)]
        return Query(QueryItem(types=names), *own)

    @classmethod
    def shape(cls) -> Sequence[object]:
        """Return what its inputs are. Its states are in the log and no part of it."""
        return [cls.events()]

    def stream_of(self, key: str) -> str:
        """Return the stream of a process. Raises InvalidName for a key that cannot be part of a stream's id.

        Or that is so long that the streams of its deadlines and refusals, whose ids begin with `sacho_`, could not be named.
        """
        stream = stream_id(self.category, key)
        if len(stream) > _SURELY_FITS:
            deadline_stream(stream)
        return stream

    def taken(self, recorded: RecordedEvent) -> Takes | None:
        """Return how an event is taken, or None if it is not."""
        event = recorded.event
        if isinstance(event, DeadlinePassed):
            return self.takes.get(("deadline", event.name))
        if isinstance(event, CommandTurnedDown):
            return self.takes.get(("refusal", event.command))
        return self.takes.get(("event", recorded.type))

    def process_key(self, recorded: RecordedEvent) -> str | None:
        """Return the key of the process that an event is for; None if it is for none of this kind."""
        event = recorded.event
        if isinstance(event, DeadlinePassed | CommandTurnedDown):
            return event.key if event.process == self.name else None
        takes = self.takes.get(("event", recorded.type))
        if takes is None:
            return None
        found = getattr(event, takes.key) if isinstance(takes.key, str) else takes.key(event)
        return None if found is None else str(found)

    def key(self, recorded: RecordedEvent) -> str:
        """Return the key of the process, within which events are taken in order."""
        return self.process_key(recorded) or ""

    def concerns(self, recorded: RecordedEvent) -> bool:
        """Tell whether an event is for a process of this kind."""
        return self.process_key(recorded) is not None

    def handler(self, type: str) -> Callable[..., Any] | None:
        """Return a method for a type of event, or None."""
        takes = self.takes.get(("event", type))
        return None if takes is None else getattr(self, takes.method)

    def react(self, takes: Takes, event: Any, state: S, moment: Moment) -> list[Reaction]:
        """Return what the process does about an event, by the method that takes it."""
        reactions: Iterable[Reaction] | None = getattr(self, takes.method)(event, state, moment)
        return [] if reactions is None else list(reactions)

    def taking(self, commits: Commits, here: Surroundings) -> Taking:
        """Return what lets processes take their steps."""
        return Advancing(self, here)


def _own(cls: type[ProcessManager[Any]], kind: Kind, event: type) -> list[QueryItem]:
    """Return what finds events that Sacho records for processes of this kind, if it takes any."""
    if not any(one == kind for one, _ in cls.takes):
        return []
    return [QueryItem(types=[event], tags=[f"process:{cls.name}"])]


def _check(cls: type[ProcessManager[Any]]) -> None:
    name = cls.__qualname__
    if not any(takes.may_start for takes in cls.takes.values()):
        raise InvalidConsumer(name, "no event begins a process; mark a method by @starts")
    hidden = next((takes.method for takes in cls.takes.values() if hasattr(ProcessManager, takes.method)), None)
    if hidden is not None:
        raise InvalidConsumer(name, f"{hidden}() is a method of every process manager; give yours another name")
    if not hasattr(cls, "initial"):
        raise InvalidConsumer(name, "has no `initial`, the state before the first event")
    if cls.query is not None or vars(cls).get("start", "beginning") not in ("beginning", "end"):
        raise InvalidConsumer(name, "a process manager takes what its methods declare; leave out `query`, and `start`")
    try:
        stream_id(cls.category, "key")
    except InvalidName as error:
        raise InvalidConsumer(name, f"category: {error}") from error
    if cls.state_class is None:
        cls.state_class = type(cls.initial)
    try:
        msgspec.json.Decoder(cls.state_class)
    except TypeError as error:
        raise InvalidConsumer(name, f"its state {cls.state_class!r} cannot be kept as JSON: {error}") from error

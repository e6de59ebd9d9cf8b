"""Consumer: what reacts to events, declared as a class with handlers by type. Driven by the one runner.

A plain consumer acts on the outside world: each event is handled at least once, in order of its key, with a message id that
stays the same. A projection is a consumer whose effects are rows, written with its checkpoint, and so exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias
from uuid import UUID
from zlib import crc32

from sacho.deciding import Retry
from sacho.errors import InvalidConsumer
from sacho.events import Query, QueryItem, RecordedEvent
from sacho.reacting.declaring import EVERY, Handler, checked_name, code_of, default_name, fingerprint, handlers_of
from sacho.reacting.taking import Acting, Commits, Surroundings, Taking
from sacho.store.ids import derived_id

if TYPE_CHECKING:
    from sacho.storage.port import Row, Storage

Named: TypeAlias = "str | Consumer | type[Consumer]"
"""A consumer, by its class, an instance or its name."""

Start: TypeAlias = Literal["beginning", "end"] | int | datetime
"""Where a consumer begins: at the log's beginning or end, after a position, or with what was recorded after a time."""

MOST_PARTITIONS = 256


class Delivery(NamedTuple):
    """An event as a plain consumer gets it. `message_id` is the same at each delivery of this event to this consumer."""

    recorded: RecordedEvent
    message_id: UUID


class Consumer:
    """Reacts to events: `class Notices(Consumer)` with methods `(self, event, delivery)` marked by `@handles(Type)`.

    Class attributes declare the rest. `query`: which events, by default those of the types handled; `stream`: of just one
    stream. `start`: where a new consumer begins: at the "beginning", the "end", after a position, or with what was
    recorded after a time. `partitions`: among how many parts its keys are dealt, which as many workers may share.
    `independent_keys`: whether an event that cannot be handled holds up its own key only. `retry`: how often and how soon
    a failing event is tried again. `most_parked`: at how many parked events the consumer stops instead of parking one more.

    Methods may be `async def`; they run in the loop of the application, or in one of the runner's own.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    query: ClassVar[Query | None] = None
    stream: ClassVar[str | None] = None
    start: ClassVar[Start] = "beginning"
    partitions: ClassVar[int] = 1
    independent_keys: ClassVar[bool] = False
    retry: ClassVar[Retry] = Retry(attempts=5, first_pause=0.1, longest_pause=5.0)
    most_parked: ClassVar[int] = 100
    handlers: ClassVar[Mapping[str, Handler]] = {}
    has_keyed_methods: ClassVar[bool] = False
    """Whether `@handles` may name a key, as in document views."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = checked_name(cls, vars(cls).get("name") or default_name(cls))
        cls.handlers = handlers_of(cls)
        _check(cls)

    def key(self, recorded: RecordedEvent) -> str:
        """Return what keeps events in order: those of one key are handled one after the other. By default, the stream."""
        return recorded.stream or str(recorded.id)

    @classmethod
    def events(cls) -> Query:
        """Return which events concern the consumer."""
        if cls.query is not None:
            return cls.query
        if EVERY in cls.handlers:
            return Query()
        return Query(QueryItem(types=sorted(cls.handlers)))

    @classmethod
    def fingerprint(cls) -> str:
        """Return what tells this consumer from a changed one of the same name and version: its declaration and its code."""
        return fingerprint(cls.shape(), cls.code())

    @classmethod
    def shape(cls) -> Sequence[object]:
        """Return what its tables and its events are, for the fingerprint."""
        return [cls.events(), cls.stream, sorted((type, handler.method) for type, handler in cls.handlers.items())]

    @classmethod
    def code(cls) -> str | None:
        """Return its code, for the fingerprint; None where it cannot be read."""
        return code_of(cls)

    def handler(self, type: str) -> Callable[..., Any] | None:
        """Return the method for a type of event, or None."""
        found = self.handlers.get(type) or self.handlers.get(EVERY)
        return None if found is None else getattr(self, found.method)

    def concerns(self, recorded: RecordedEvent) -> bool:
        """Tell whether an event that the query finds concerns the consumer. One that does not is passed over."""
        return True

    def taking(self, commits: Commits, here: Surroundings) -> Taking:
        """Return what takes events in for this consumer, in its worker (`commits`) and its application (`here`)."""
        return Acting(self, here.loop)

    def delivery(self, recorded: RecordedEvent) -> Delivery:
        """Return an event with the id of its message to this consumer."""
        return Delivery(recorded, UUID(bytes=derived_id(str(recorded.id), self.name)))


def partition_of(key: str, count: int) -> int:
    """Return the partition of a key."""
    return crc32(key.encode()) % count if count > 1 else 0


def first_concerning(storage: Storage, consumer: Consumer | None, after: int, to: int) -> Row | None:
    """Return the first event in a range of positions that concerns a consumer, as it is stored, or None.

    Any event may concern one that is not known (None).
    """
    query, stream = (Query(), None) if consumer is None else (consumer.events(), consumer.stream)
    limit = 1 if stream is None else None
    for rows in storage.read_all(query, after=after, to=to, limit=limit, backwards=False):
        found = next((row for row in rows if stream in {None, row[1]}), None)
        if found is not None:
            return found
    return None


def _check(cls: type[Consumer]) -> None:
    """Raise InvalidConsumer for a declaration that cannot be meant."""
    name = cls.__qualname__
    if type(cls.version) is not int or not 1 <= cls.version < 1_000_000:
        raise InvalidConsumer(name, f"version = {cls.version!r} is no whole number from 1")
    if type(cls.partitions) is not int or not 1 <= cls.partitions <= MOST_PARTITIONS:
        raise InvalidConsumer(name, f"partitions = {cls.partitions!r} is no whole number from 1 to {MOST_PARTITIONS}")
    if not isinstance(cls.retry, Retry):
        raise InvalidConsumer(name, f"retry = {cls.retry!r} is no Retry; write retry = Retry(attempts=3)")
    if type(cls.most_parked) is not int or cls.most_parked < 0:
        raise InvalidConsumer(name, f"most_parked = {cls.most_parked!r} is no whole number from 0")
    hidden = next((one.method for one in cls.handlers.values() if hasattr(Consumer, one.method)), None)
    if hidden is not None:
        raise InvalidConsumer(name, f"{hidden}() is a method of every consumer; give yours another name")
    keyed = [handler.method for handler in cls.handlers.values() if handler.key is not None]
    if keyed and not cls.has_keyed_methods:
        raise InvalidConsumer(
            name,
            f"@handles(…, key=…) of {keyed[0]} is for document views; here, a method `key(self, recorded)` says it",
        )
    if cls.query is not None and not isinstance(cls.query, Query):
        raise InvalidConsumer(name, f"query = {cls.query!r} is no Query")
    if isinstance(cls.start, datetime):
        if cls.start.tzinfo is None:
            raise InvalidConsumer(name, f"start = {cls.start!r} has no time zone")
    elif cls.start not in ("beginning", "end") and (type(cls.start) is not int or cls.start < 0):
        raise InvalidConsumer(name, f'start = {cls.start!r} is not "beginning", "end", a position or a time')

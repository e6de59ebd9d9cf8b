"""EventStore, blocking and thread-safe. `sacho.aio` has the same for asyncio."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sacho.errors import InvalidAppend, InvalidQuery, StoreClosed, UnsupportedOperation
from sacho.events import (
    ANY,
    NO_STREAM,
    Append,
    AppendCondition,
    Appended,
    EncodedEvent,
    EventData,
    ExpectedVersion,
    Query,
    RecordedEvent,
    StreamWrite,
    Write,
)
from sacho.events.appending import checked_expected
from sacho.events.naming import checked_name
from sacho.events.querying import checked_position
from sacho.schema import Encoding
from sacho.storage.processes import same_process
from sacho.store.context import current_metadata, note_append
from sacho.store.ids import new_id, new_ids
from sacho.store.joining import Joined
from sacho.store.reading import Decoding, Reading
from sacho.store.subscription import Feed, Subscription

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from sacho.storage.port import CategoryInfo, LogIdentity, Storage, StreamInfo

EVERYTHING: Final = Query()
BACKGROUND_THREADS: Final = 4
ERRAND_THREADS: Final = 8


class EventStore:
    """The log of events, through one engine, with the event classes of one registry.

    Made by `sacho.connect(url)`; use it as a context manager or call `close()`. All methods may be called from any
    thread. A store does not survive a fork: in the child it raises StoreForked.
    """

    def __init__(self, storage: Storage, encoding: Encoding, url: str) -> None:
        self.storage = storage
        self.encoding = encoding
        self.url = url
        self.feed = Feed(storage)
        self._typed = Decoding(encoding, raw=False)
        self._raw = Decoding(encoding, raw=True)
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._background: ThreadPoolExecutor | None = None
        self._errands: ThreadPoolExecutor | None = None
        self._closed = False
        self._is_same_process = same_process()

    # --- appending ------------------------------------------------------------------------------------

    def append(
        self,
        stream: str | None,
        events: Iterable[Any],
        *,
        expected: ExpectedVersion = ANY,
        condition: AppendCondition | None = None,
    ) -> Appended:
        """Append events to a stream (None: to no stream, only to their tags), all or none; durable when it returns.

        `events` are events, or EventData to set ids, tags or metadata. `expected` is ANY, NO_STREAM, EXISTS or the
        exact version the stream must be at; `condition` fails the append if events that it excludes are there. The same
        ids with the same content return the first result. Returns the stream's version and the last event's position.

        Raises WrongExpectedVersion, AppendConditionFailed, DuplicateEventId (all are Conflicts); InvalidAppend,
        InvalidName, InvalidEvent, PayloadTooLarge, UnregisteredEvent; StorageError. Nothing was written then, unless a
        StorageError says that it `may_have_happened`.
        """
        part = self._part(stream, events, expected)
        done = self.storage.write(Write((part,), None if condition is None else _checked_condition(condition)))[0]
        note_append(done.position)
        return done

    def append_many(self, appends: Iterable[Append], *, condition: AppendCondition | None = None) -> list[Appended]:
        """Append to several streams in one atomic write; return what was made of each, in order. Raises as `append`."""
        done = self.storage.write(self.encode_many(appends, condition))
        note_append(done[-1].position)
        return done

    def submit(
        self,
        stream: str | None,
        events: Iterable[Any],
        *,
        expected: ExpectedVersion = ANY,
        condition: AppendCondition | None = None,
    ) -> Future[list[Appended]]:
        """Begin an append and return its future, with one Appended in a list. Bad input is raised at once."""
        return self.storage.submit(self.encode(stream, events, expected, condition))

    def joined(self, connection: object) -> Joined:
        """Return an `append` and `append_many` that join a transaction which the application holds on `connection`.

        The application's own rows and the events commit together, or neither. The connection is to the log's own
        database: of psycopg 3, or a connection or session of SQLAlchemy over it. Until it commits, readers of the whole
        log are not shown what others append meanwhile, and who appends to the same streams waits: keep it short. The
        engine ends a joined transaction that is idle for longer than the URL's `joined_timeout` (5 seconds).

        Raises UnsupportedOperation where the engine does not offer "joined-appends".
        """
        self.require(("joined-appends",))
        return Joined(self, connection)

    def encode(
        self,
        stream: str | None,
        events: Iterable[Any],
        expected: ExpectedVersion = ANY,
        condition: AppendCondition | None = None,
    ) -> Write:
        """Return an append in the form that engines take, checked."""
        return Write((self._part(stream, events, expected),), _checked_condition(condition))

    def encode_many(self, appends: Iterable[Append], condition: AppendCondition | None = None) -> Write:
        """Return an append over several streams in the form that engines take, checked."""
        parts = tuple(self._part(one.stream, one.events, one.expected) for one in _checked_appends(appends))
        if not parts:
            raise InvalidAppend("append_many was given nothing to append")
        return Write(parts, _checked_condition(condition))

    # --- reading --------------------------------------------------------------------------------------

    def read(
        self,
        stream: str,
        *,
        after: int = 0,
        to: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
        raw: bool = False,
    ) -> Reading:
        """Read the events of a stream with after < version <= to, in order of version (`backwards`: the last first).

        A stream that is not there reads as empty. The read ends at what was there at its start, and `limit` counts from
        where it begins. `raw` gives events as RawEvent, without their classes. Iterating raises UnknownEventType or
        UndecodableEvent where a stored event has no class or does not fit it.
        """
        checked_name("stream id", stream)
        check_range(after, to, limit)
        bounds = self.storage.bounds(stream)

        def pages() -> Iterator[list[Any]]:
            return self.storage.read(stream, after=after, to=to, limit=limit, backwards=backwards, head=bounds.stream)

        return Reading(bounds.head, pages, self._raw if raw else self._typed)

    def read_all(
        self,
        query: Query = EVERYTHING,
        *,
        after: int = 0,
        to: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
        raw: bool = False,
    ) -> Reading:
        """Read the events of the whole log that match, with after < position <= to, in order of position.

        The reading's `head` says up to where it is complete: use it in an AppendCondition, or to read on later. With a
        `limit` it is known once the reading was iterated.
        """
        checked_query(query)
        check_range(after, to, limit)
        head = self.storage.head()
        last = head if to is None else min(to, head)

        def pages() -> Iterator[list[Any]]:
            return self.storage.read_all(query, after=after, to=last, limit=limit, backwards=backwards)

        return Reading(last, pages, self._raw if raw else self._typed, limit=None if backwards else limit)

    def correlated(self, correlation_id: UUID | str, *, after: int = 0, raw: bool = False) -> Reading:
        """Read the events whose metadata carry this correlation id, in order of position, by an index."""
        check_range(after, None, None)
        head = self.storage.head()
        return Reading(
            head,
            lambda: self.storage.correlated(str(correlation_id), after=after, to=head),
            self._raw if raw else self._typed,
        )

    def find(self, event_id: UUID, *, raw: bool = False) -> RecordedEvent | None:
        """Return the event of this id, or None, by an index."""
        if not isinstance(event_id, UUID):
            raise InvalidQuery(f"event_id={event_id!r} is no uuid.UUID")
        found = (self._raw if raw else self._typed).page(self.storage.find([event_id.bytes]))
        return found[0] if found else None

    def head(self) -> int:
        """Return the highest position that a reader of the whole log may be shown; 0 for an empty log."""
        return self.storage.head()

    def version(self, stream: str) -> int:
        """Return how many events a stream has."""
        last = next(iter(self.read(stream, backwards=True, limit=1, raw=True)), None)
        return NO_STREAM if last is None or last.version is None else last.version

    def position_at(self, moment: datetime) -> int:
        """Return the last position recorded at or before a moment (with a time zone); 0 if there is none."""
        if moment.tzinfo is None:
            raise InvalidQuery(f"{moment!r} has no time zone; say which, for example with tzinfo=UTC")
        return self.storage.position_at(round(moment.timestamp() * 1_000_000))

    def streams(
        self, category: str | None = None, *, after: str = "", limit: int | None = None
    ) -> Iterator[StreamInfo]:
        """Return an iterator over the streams (of a category) in order of id, each with its version and last time; `after` an id."""
        check_range(0, None, limit)
        return chain.from_iterable(self.storage.streams(category=category, after=after, limit=limit))

    def categories(self) -> list[CategoryInfo]:
        """Return the categories in order of name, each with the position and time of its last event."""
        return self.storage.categories()

    # --- subscribing ----------------------------------------------------------------------------------

    def subscribe(self, query: Query = EVERYTHING, *, after: int = 0, raw: bool = False) -> Subscription:
        """Follow the events that match: those after a position that are there, then each as it is recorded.

        No gap, no repeat, in order of position. Use it as a context manager; iterate it, or call `next(timeout=)`.
        """
        checked_query(query)
        check_range(after, None, None)
        with self._lock:
            if self._closed:
                raise StoreClosed
            subscription = Subscription(self.feed, self.decoding(raw=raw), query, after)
            self._subscriptions.add(subscription)
        return subscription

    # --- the store itself -----------------------------------------------------------------------------

    @property
    def identity(self) -> LogIdentity:
        """The log's id and epoch: a checkpoint belongs to both."""
        return self.storage.identity

    @property
    def capabilities(self) -> frozenset[str]:
        """What the engine offers, by name."""
        return self.storage.capabilities

    def require(self, capabilities: Iterable[str]) -> None:
        """Raise UnsupportedOperation for the first of the capabilities that the engine lacks."""
        if isinstance(capabilities, str):
            capabilities = (capabilities,)
        for capability in sorted(capabilities):
            if capability not in self.storage.capabilities:
                raise UnsupportedOperation(capability, self.storage.name, self.storage.capabilities)

    def decoding(self, *, raw: bool) -> Decoding:
        """Return how rows become recorded events."""
        return self._raw if raw else self._typed

    @property
    def background(self) -> ThreadPoolExecutor:
        """The store's few threads for work that nobody's own thread should do. Raises StoreClosed or StoreForked."""
        with self._lock:
            if self._background is None or not self._is_same_process():
                self._background = self._new_threads(BACKGROUND_THREADS, "sacho-background")
            return self._background

    @property
    def errands(self) -> ThreadPoolExecutor:
        """More threads, for functions of the application that may be slow: they hold up nothing of the store's own."""
        with self._lock:
            if self._errands is None or not self._is_same_process():
                self._errands = self._new_threads(ERRAND_THREADS, "sacho-errands")
            return self._errands

    def close(self) -> None:
        """End subscriptions, let appends under way finish, release all. Closing twice is fine.

        In a process forked from the one that opened the store it does nothing: what is open belongs to the parent.
        """
        if not self._is_same_process():
            return
        with self._lock:
            self._closed = True
            pools = [pool for pool in (self._errands, self._background) if pool is not None]
            self._errands = self._background = None
            subscriptions = tuple(self._subscriptions)
        for subscription in subscriptions:
            subscription.end()
        for pool in pools:
            pool.shutdown(wait=True)
        self.storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def _new_threads(self, count: int, name: str) -> ThreadPoolExecutor:
        if self._closed:
            raise StoreClosed
        self.storage.head()
        return ThreadPoolExecutor(count, thread_name_prefix=name)

    def _part(self, stream: str | None, events: Iterable[Any], expected: ExpectedVersion) -> StreamWrite:
        if stream is not None:
            checked_name("stream id", stream)
        if expected is not ANY:
            if type(expected) is not int or expected < 0:
                checked_expected(expected)
            if stream is None:
                raise InvalidAppend(f"expected={expected} needs a stream; events without one take a condition instead")
        if type(events) is not list:
            events = _checked_events(events)
        encode, metadata = self.encoding.encode, current_metadata()
        next_id = new_ids(len(events)).__next__ if isinstance(events, list) and len(events) > 1 else new_id
        encoded: list[EncodedEvent] = []
        for event in events:
            encoded.append(encode(event, next_id, metadata))  # noqa: PERF401 - a comprehension would be one call more
        if not encoded:
            raise InvalidAppend("no events to append")
        return StreamWrite(stream, encoded, expected)


def _checked_events(events: Iterable[Any]) -> Iterable[Any]:
    if isinstance(events, EventData | str | bytes | dict) or not isinstance(events, Iterable):
        raise InvalidAppend(f"events={events!r} is no list of events; write [event]")
    return events


def _checked_condition(condition: AppendCondition | None) -> AppendCondition | None:
    if condition is not None and not isinstance(condition, AppendCondition):
        raise InvalidAppend(f"condition={condition!r} is no AppendCondition")
    return condition


def _checked_appends(appends: Iterable[Append]) -> Sequence[Append]:
    if not isinstance(appends, Iterable):
        raise InvalidAppend(f"appends={appends!r} is no list; write [Append(stream, events, expected), ...]")
    found = tuple(appends)
    for one in found:
        if not isinstance(one, Append):
            raise InvalidAppend(f"{one!r} is no Append; write Append(stream, events, expected)")
    return found


def checked_query(query: Query) -> None:
    """Raise InvalidQuery unless `query` is one."""
    if not isinstance(query, Query):
        raise InvalidQuery(f"query={query!r} is no Query; write Query(QueryItem(...))")


def check_range(after: int, to: int | None, limit: int | None) -> None:
    """Raise InvalidQuery unless all that are given are whole numbers from 0."""
    checked_position("after", after)
    if to is not None:
        checked_position("to", to)
    if limit is not None:
        checked_position("limit", limit)

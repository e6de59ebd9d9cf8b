"""Folding: a view that is not kept but made, when it is asked for, from the events of one stream or of a query."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from sacho.errors import InvalidQuery
from sacho.events import Query

if TYPE_CHECKING:
    from sacho.store import EventStore, Reading

S = TypeVar("S")


class Folded(NamedTuple, Generic[S]):
    """A state, and as of which position of the log it holds."""

    state: S
    position: int


def fold(
    store: EventStore,
    evolve: Callable[[S, Any], S],
    initial: S,
    source: Query | str,
    *,
    until: int | datetime | None = None,
) -> Folded[S]:
    """Return the state folded from the events of a stream (its id) or of a query, in order.

    `until` ends it: at a version of the stream, at a position for a query, or at a time (with a time zone), which means up
    to the last event recorded at or before it. Without it the state is that of now. A decider's own fold is
    `fold(store, decider.evolve, decider.initial, stream)`.
    """
    reading = _reading(store, source, until)
    state = initial
    for page in reading.pages():
        for recorded in page:
            state = evolve(state, recorded.event)
    return Folded(state, reading.head)


def _reading(store: EventStore, source: Query | str, until: int | datetime | None) -> Reading:
    if isinstance(until, datetime):
        to = store.position_at(until)
        if isinstance(source, Query):
            return store.read_all(source, to=to)
        return store.read(source, to=_version_at(store, source, to))
    if isinstance(source, Query):
        return store.read_all(source, to=until)
    if isinstance(source, str):
        return store.read(source, to=until)
    raise InvalidQuery(f"source={source!r} is neither a stream's id nor a Query")


def _version_at(store: EventStore, stream: str, position: int) -> int:
    """Return the version of a stream's last event up to a position, by halves."""
    low, high = 0, store.version(stream)
    while low < high:
        middle = (low + high + 1) // 2
        (recorded,) = store.read(stream, after=middle - 1, to=middle, raw=True)
        low, high = (middle, high) if recorded.position <= position else (low, middle - 1)
    return low

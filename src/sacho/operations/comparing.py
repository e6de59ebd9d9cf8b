"""Comparing two logs event by event, with a digest that says the same of a log wherever it stands.

The digest is SHA-256 over the canonical form of every event, in order. That form is MessagePack, which puts the length
before each value, so no two logs have one form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import chain, zip_longest
from typing import Any, Final, TypeAlias

import msgspec

from sacho.errors import LogsDiffer
from sacho.operations.pipeline import Along, Tell, batches, silent
from sacho.operations.positions import PositionMap
from sacho.storage.port import Row, Storage
from sacho.store import EventStore

Pair: TypeAlias = tuple[Row | None, Row | None]
"""An event of the source and the one in its place in the target; None where there is none."""

TOLD_EVERY: Final = 1_000
"""After how many events progress is told."""

FACTS: Final = ("position", "stream", "version", "type", "schema version", "data", "id", "tags", "metadata", "time")
"""What the canonical form of an event has, in this order."""

_packed = msgspec.msgpack.Encoder().encode
_tags = msgspec.json.Decoder(tuple[str, ...]).decode


class Digest(msgspec.Struct, frozen=True):
    """A digest of the events of a log up to `head`: how many they are, and SHA-256 in hexadecimal."""

    events: int
    head: int
    sha256: str


class Digesting:
    """Takes the events of a log one by one."""

    def __init__(self) -> None:
        self.events = 0
        self._hash = sha256()

    def take(self, row: Row) -> bytes:
        """Take the next event in; return its canonical form."""
        form = canonical(row)
        self._hash.update(form)
        self.events += 1
        return form

    def up_to(self, head: int) -> Digest:
        """Return the digest of what was taken."""
        return Digest(self.events, head, self._hash.hexdigest())


class Comparison:
    """Goes through two logs side by side; may go on where it ended, once more was copied.

    Each event's canonical form is compared, so the one digest is that of both.
    """

    def __init__(self, tell: Tell = silent) -> None:
        self.digesting = Digesting()
        self._tell = tell

    def go(self, pairs: Iterable[Pair], step: str, after: int, to: int) -> None:
        """Take in the pairs of a range of the source's positions. Raises LogsDiffer for the first that differs."""
        told = Along(self._tell, step, after, to)
        for ours, theirs in pairs:
            if ours is None or theirs is None or self.digesting.take(ours) != canonical(theirs):
                raise _difference(ours, theirs)
            if self.digesting.events % TOLD_EVERY == 0:
                told(ours)
        told.end()


def digest(store: EventStore, *, to: int | None = None, progress: Tell = silent) -> Digest:
    """Return the digest of a log up to a position (its head, if none is given), positions and times included.

    Two logs with one digest have the same events at the same positions. Reads in bounded memory. Raises StorageError.
    """
    last = store.head() if to is None else to
    digesting, told = Digesting(), Along(progress, "digesting", 0, last)
    for rows in batches(store.storage, 0, last):
        for row in rows:
            digesting.take(row)
        told(rows[-1])
    return digesting.up_to(last)


def verify(source: EventStore, target: EventStore, *, to: int | None = None, progress: Tell = silent) -> Digest:
    """Compare two logs event by event up to a position (the source's head, if none is given); return their digest.

    Everything must be equal: ids, streams, versions, types, schema versions, data, tags, metadata, times, positions.
    What the target holds above that position does not matter. Raises LogsDiffer, which names the first position that
    differs; StorageError.
    """
    last = source.head() if to is None else to
    comparison = Comparison(progress)
    comparison.go(in_place(source.storage, target.storage, 0, last), "comparing", 0, last)
    return comparison.digesting.up_to(last)


def in_place(source: Storage, target: Storage, after: int, to: int) -> Iterator[Pair]:
    """Pair the events of two logs that should stand at the same positions."""
    return zip_longest(_rows(source, after, to), _rows(target, after, to))


def moved(source: Storage, target: Storage, to: int, places: PositionMap) -> Iterator[Pair]:
    """Pair the events of the source with those at their new places in the target, whatever else stands between these.

    The second of a pair comes with the position that it has in the source.
    """
    others = chain.from_iterable(_rows(target, one.new_first - 1, one.new_last) for one in places.ranges)
    for row in _rows(source, 0, to):
        place = places.moved(row[0])
        found = next((other for other in others if other[0] >= place), None)
        yield row, (row[0], *found[1:]) if found is not None and found[0] == place else None


def canonical(row: Row) -> bytes:
    """Return what the digest takes of an event: MessagePack of the FACTS, in their order."""
    return _packed(_facts(row))


def _facts(row: Row) -> tuple[Any, ...]:
    tags = row[7]
    return (*row[:7], _tags(tags) if tags else (), row[8], row[9])


def _rows(storage: Storage, after: int, to: int) -> Iterator[Row]:
    return chain.from_iterable(batches(storage, after, to))


def _difference(ours: Row | None, theirs: Row | None) -> LogsDiffer:
    """Say which of two events that should be one is missing, or in what they differ."""
    if ours is not None and (theirs is None or ours[0] < theirs[0]):
        return LogsDiffer(ours[0], "is missing in the target")
    if theirs is not None and (ours is None or theirs[0] < ours[0]):
        return LogsDiffer(theirs[0], "is not in the source")
    assert ours is not None
    assert theirs is not None
    facts = [fact for fact, one, other in zip(FACTS, _facts(ours), _facts(theirs), strict=True) if one != other]
    if "id" in facts:
        return LogsDiffer(ours[0], "is another one in the target")
    return LogsDiffer(ours[0], f"has other {' and other '.join(facts)} in the target")

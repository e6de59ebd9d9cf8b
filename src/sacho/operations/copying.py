"""Copying a log into another one, of any engine: what was recorded stays what it was, and goes on where it was cut off.

Events are written a batch at a time, in the order of the source, so what is there at any moment is a beginning of the
source. Streams keep their versions. Snapshots are not copied: nothing is lost with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, TypeAlias

import msgspec

from sacho.errors import DuplicateEventId, InvalidAppend, LogsDiffer, StreamClash, TargetHoldsOthers
from sacho.operations.comparing import Comparison, Digest, canonical, in_place, moved
from sacho.operations.pipeline import Along, Tell, batches, pumped, silent
from sacho.operations.positions import MapMaking, PositionMap, PositionRange
from sacho.schema.encoding import encoded_again
from sacho.storage.port import ImportedEvent, Row, Storage, StreamInfo, row_of
from sacho.store import EventStore

HEADROOM: Final = (0, 1_000, 100_000)
"""How many positions are left to others who append to the target meanwhile: at the first try of a batch, at the next."""

Places: TypeAlias = list[tuple[int, int]]
"""Old and new positions of events."""


class Copied(msgspec.Struct, frozen=True):
    """What became of a copy: how many events were written now, the digest of all, where they stand in the target."""

    written: int
    digest: Digest
    positions: PositionMap


def copy(source: EventStore, target: EventStore, *, progress: Tell = silent) -> Copied:
    """Copy the events of a log up to its head into an empty log, at the same positions, and verify the copy.

    Ids, streams, versions, order, data, tags, metadata, times and positions stay. A target that holds a beginning of
    the source is gone on with: after an interruption, whatever it was, or when the source has grown, copy again.
    The source may be in use; nobody else may write to the target meanwhile, but for another such copy. Reads in bounded
    memory.

    Raises TargetHoldsOthers if the target's events are not a beginning of the source; nothing was written then, unless
    somebody else wrote to the target meanwhile. Raises LogsDiffer if the copy turns out unequal; StorageError. What was
    written until then stays, whole batches in the order of the source.
    """
    while True:
        held = target.head()
        try:
            return _gone_on(source.storage, target.storage, held, progress)
        except (InvalidAppend, DuplicateEventId):
            if target.head() <= held:
                raise  # else another copy of the same source, or what it left under way, was faster: go on behind it


def copy_behind(source: EventStore, target: EventStore, *, progress: Tell = silent) -> Copied:
    """Copy the events of a log up to its head behind those of another log, at new positions, and verify the copy.

    All but the positions stays; the result's map says where the events stand now. What is there already is known by its
    ids, so it may be done again, after an interruption or when the source has grown. Both logs may be in use, as long as
    nobody appends to the streams that are copied. The digest is that of the source.

    Raises StreamClash if a stream of the source has other events in the target, which is looked for before anything is
    written; TargetHoldsOthers if an event id is another event there, which is found when it is its turn; LogsDiffer if
    the copy turns out unequal; StorageError. What was written until then stays, whole batches in the order of the source.
    """
    head = source.head()
    for ours, theirs in _in_both(source.storage, target.storage):
        _check_stream(source.storage, target.storage, ours.stream, min(ours.version, theirs.version))
    sink = _Behind(target.storage)
    told = Along(progress, "copying", 0, head)
    written = pumped(batches(source.storage, 0, head), _in_their_places, sink, told)
    places, comparison = sink.made, Comparison(progress)
    comparison.go(moved(source.storage, target.storage, head, places), "verifying", 0, head)
    return Copied(written, comparison.digesting.up_to(head), places)


def _gone_on(source: Storage, target: Storage, held: int, tell: Tell) -> Copied:
    """Copy what lies behind the head of the target, `held`, between comparing what it holds and what was written."""
    head, comparison = source.head(), Comparison(tell)
    _compare_beginning(comparison, source, target, held, head)
    told = Along(tell, "copying", held, head)
    written = pumped(batches(source, held, head), _in_their_places, target.import_events, told)
    comparison.go(in_place(source, target, held, head), "verifying", held, head)
    return Copied(written, comparison.digesting.up_to(head), _unmoved(head))


class _Behind:
    """Writes events behind all that the target holds, unless they are there already; knows where they stand."""

    def __init__(self, target: Storage) -> None:
        self._target = target
        self._shift = target.head()
        self._places = MapMaking()

    @property
    def made(self) -> PositionMap:
        """Where the events stand."""
        return self._places.made

    def __call__(self, events: Sequence[ImportedEvent]) -> int:
        """Write those of the events that are not there; return how many these were."""
        there = self._there(events)
        written = len(events) - len(there)
        for room in HEADROOM:
            places = self._planned(events, there, room)
            try:
                self._target.import_events(_shifted(events, there, places))
                break
            except (InvalidAppend, DuplicateEventId):
                there = self._there(events)
                self._check_versions([one for one in events if one.event.id not in there])
                if room == HEADROOM[-1]:
                    raise
        self._places.add(places)
        self._shift = places[-1][1] - places[-1][0]
        return written

    def _there(self, events: Sequence[ImportedEvent]) -> dict[bytes, int]:
        """Return the positions of those that are there, by id. Raises TargetHoldsOthers if one is another event."""
        given = {one.event.id: one for one in events}
        found = self._target.find(list(given))
        for row in found:
            ours = given[row[6]]
            if canonical((ours.position, *row[1:])) != canonical(row_of(*ours)):
                raise TargetHoldsOthers(row[0], "has the id of one of the source, but is another event")
        return {row[6]: row[0] for row in found}

    def _planned(self, events: Sequence[ImportedEvent], there: dict[bytes, int], room: int) -> Places:
        """Return where the events stand or shall stand. Raises LogsDiffer if those there are not in order."""
        shifts = [there[one.event.id] - one.position for one in events if one.event.id in there]
        first = next((one.position for one in events if one.event.id not in there), 0)
        head, shift = self._target.head(), shifts[-1] if shifts else self._shift
        if room or first + shift <= head:
            shift = head + 1 + room - first
        places = [(one.position, there.get(one.event.id, one.position + shift)) for one in events]
        self._places.check(places)
        return places

    def _check_versions(self, events: list[ImportedEvent]) -> None:
        """Raise StreamClash for the first stream in which the target has others where these should follow."""
        seen: set[str] = set()
        for one in events:
            if one.stream is not None and one.version is not None and one.stream not in seen:
                seen.add(one.stream)
                if _id_at(self._target, one.stream, one.version) not in {None, one.event.id}:
                    raise StreamClash(one.stream, one.version)


def _in_their_places(rows: list[Row]) -> list[ImportedEvent]:
    """Return stored events as the import path takes them, with all that they have."""
    return [_in_its_place(row) for row in rows]


def _in_its_place(row: Row) -> ImportedEvent:
    position, stream, version, type, schema_version, data, id, tags, metadata, recorded_at = row
    event = encoded_again(id, type, schema_version, data, tags, metadata)
    return ImportedEvent(position, stream, version, event, recorded_at)


def _shifted(events: Sequence[ImportedEvent], there: dict[bytes, int], places: Places) -> Iterator[ImportedEvent]:
    for one, (_, position) in zip(events, places, strict=True):
        if one.event.id not in there:
            yield one._replace(position=position)


def _unmoved(head: int) -> PositionMap:
    return PositionMap((PositionRange(1, head, 1, head),) if head else ())


def _compare_beginning(comparison: Comparison, source: Storage, target: Storage, held: int, head: int) -> None:
    """Raise TargetHoldsOthers unless all that the target holds, up to `held`, is a beginning of the source."""
    end = min(held, head)
    try:
        comparison.go(in_place(source, target, 0, end), "comparing", 0, end)
    except LogsDiffer as found:
        raise TargetHoldsOthers(found.position, found.reason) from found
    for row in chain.from_iterable(batches(target, end, held)):
        raise TargetHoldsOthers(row[0], "is not in the source")


def _in_both(source: Storage, target: Storage) -> Iterator[tuple[StreamInfo, StreamInfo]]:
    """Yield the streams that are in both logs, as each lists them."""
    theirs = chain.from_iterable(target.streams(category=None, after="", limit=None))
    other = next(theirs, None)
    for one in chain.from_iterable(source.streams(category=None, after="", limit=None)):
        while other is not None and other.stream < one.stream:
            other = next(theirs, None)
        if other is not None and other.stream == one.stream:
            yield one, other


def _check_stream(source: Storage, target: Storage, stream: str, version: int) -> None:
    """Raise StreamClash unless a stream is the same in both logs up to a version, as its event there tells."""
    if _id_at(source, stream, version) != _id_at(target, stream, version):
        pairs = zip(_ids(source, stream), _ids(target, stream), strict=False)
        raise StreamClash(stream, next(number for number, (one, other) in enumerate(pairs, start=1) if one != other))


def _id_at(storage: Storage, stream: str, version: int) -> bytes | None:
    return next(_ids(storage, stream, version - 1, version), None)


def _ids(storage: Storage, stream: str, after: int = 0, to: int | None = None) -> Iterator[bytes]:
    last = storage.bounds(stream).stream
    pages = storage.read(stream, after=after, to=to, limit=None, backwards=False, head=last)
    return (row[6] for row in chain.from_iterable(pages))

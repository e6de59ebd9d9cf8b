"""Sacho on a long log. It is built once in a run and opened anew by each measurement, which adds a few events to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import sacho
from benchmarks.domain import SEAT_TYPE, conference_id, reservation
from benchmarks.job import Job
from benchmarks.memory import peak_mib, resident_mib
from benchmarks.ours.logs import url
from benchmarks.ours.seats import Command, SeatsAdded, SeatsDecider, SeatsEvent, State, TaggedSeatsReserved
from benchmarks.timing import seconds
from sacho import Append, AppendCondition, CommandHandler, Event, EventStore, Query, QueryItem

LONG = (1_000_000, 20_000)
SHORT = (10_000, 10_000)
LONG_FILE = "long.db"
SHORT_FILE = "short.db"
EVENTS_PER_STREAM = 100
EVENTS_PER_CALL = 1_000
EVENTS_PER_TURN = 10
WARM_UP = 60


class PriceChanged(Event):
    """A rare event: the long log has a few."""

    price: int


class ConferenceCancelled(Event):
    """An event that the log has none of."""

    reason: str


class PageVisited(Event):
    """An event that no condition here is about."""

    page: str


def build_long(job: Job) -> float:
    """Build the long log, 1,000 events per call over 100 streams; return events a second."""
    return _build(job.prepared / LONG_FILE, job.count(*LONG))


def build_short(job: Job) -> float:
    """Build the short log in the same way; return events a second."""
    return _build(job.prepared / SHORT_FILE, job.count(*SHORT))


def memory_of_reading(job: Job) -> float:
    """MiB: the largest resident size of the process while it reads the long log, above that before the read."""
    events = job.count(*LONG)
    with sacho.connect(url(job.prepared / LONG_FILE)) as store:
        next(iter(store.read_all()))
        start, count = resident_mib(), 0
        for recorded in store.read_all(limit=events):
            count += recorded.position > 0
        if count != events:
            raise AssertionError(f"{count} events were read, not {events}")
        return peak_mib() - start


def load_from_long(job: Job) -> float:
    """µs: fold an entity of 100 events that lie apart in the log, another one each time, at random."""
    return _load(job.prepared / LONG_FILE, job)


def load_from_short(job: Job) -> float:
    """µs: the same in the short log."""
    return _load(job.copy_of(SHORT_FILE), job)


def append_to_long(job: Job) -> float:
    """µs: append one tagged event to an entity picked at random."""
    return _append(job.prepared / LONG_FILE, job)


def append_to_short(job: Job) -> float:
    """µs: the same in the short log."""
    return _append(job.copy_of(SHORT_FILE), job)


def condition_by_absent_tag(job: Job) -> float:
    """µs: append on condition that a tag was never used."""
    return _conditional(job, QueryItem(tags=["conference:none"]), is_after_head=False)


def condition_by_absent_type(job: Job) -> float:
    """µs: append on condition that no event of a type was ever recorded, by type alone."""
    return _conditional(job, QueryItem(types=[ConferenceCancelled]), is_after_head=False)


def condition_by_rare_type(job: Job) -> float:
    """µs: append on condition that none of a type came after the last one of the few there are, by type alone."""
    item = QueryItem(types=[PriceChanged])
    with sacho.connect(url(job.prepared / LONG_FILE)) as store:
        last = next(iter(store.read_all(Query(item), backwards=True, limit=1))).position
    return _conditional(job, item, is_after_head=False, after=last)


def condition_by_frequent_tag(job: Job) -> float:
    """µs: append on condition that no event of a tag came after the head, which unrelated events have left behind."""
    return _conditional(job, QueryItem(tags=[f"conference:{conference_id(7)}"]), is_after_head=True)


def condition_by_frequent_type(job: Job) -> float:
    """µs: the same by type alone, the type being that of nearly all events in the log."""
    return _conditional(job, QueryItem(types=[TaggedSeatsReserved]), is_after_head=True)


def _build(path: Path, events: int) -> float:
    with sacho.connect(url(path)) as store:
        return events / seconds(lambda: _fill(store, events))


def _fill(store: EventStore, events: int) -> None:
    """Append in rounds over blocks of 100 streams, so that the events of one entity lie apart in the log."""
    width = EVENTS_PER_CALL // EVENTS_PER_TURN
    blocks = events // EVENTS_PER_STREAM // width
    for turn in range(EVENTS_PER_STREAM // EVENTS_PER_TURN):
        for block in range(blocks):
            streams = range(block * width, (block + 1) * width)
            rare = [Append("prices-1", [PriceChanged(turn)])] if block == 0 else []
            store.append_many([*(_turn(stream, turn) for stream in streams), *rare])


def _turn(stream: int, turn: int) -> Append:
    first = turn * EVENTS_PER_TURN
    events: list[Event] = [TaggedSeatsReserved(*reservation(stream, first + one)) for one in range(EVENTS_PER_TURN)]
    if turn == 0:
        events[0] = SeatsAdded(conference_id(stream), SEAT_TYPE, EVENTS_PER_STREAM * 10)
    return Append(f"seats-{stream}", events, expected=first)


def _streams(job: Job, path: Path, count: int) -> Sequence[int]:
    events = job.count(*(LONG if path.name == LONG_FILE else SHORT))
    return Random(job.round).choices(range(events // EVENTS_PER_STREAM), k=count)


def _load(path: Path, job: Job) -> float:
    count = job.count(1_000, 50)
    with sacho.connect(url(path)) as store:
        handler: CommandHandler[Command, State, SeatsEvent] = CommandHandler(store, SeatsDecider())

        def load(streams: Sequence[int]) -> None:
            for stream in streams:
                if handler.load(f"seats-{stream}").version < EVENTS_PER_STREAM:
                    raise AssertionError(f"seats-{stream} was not loaded whole")

        streams = _streams(job, path, count + 50)
        load(streams[:50])
        return 1e6 * seconds(lambda: load(streams[50:])) / count


def _append(path: Path, job: Job) -> float:
    count = job.count(2_000, 50)
    with sacho.connect(url(path)) as store:

        def append(streams: Sequence[int]) -> None:
            for number, stream in enumerate(streams):
                store.append(f"seats-{stream}", [TaggedSeatsReserved(*reservation(stream, number))])

        streams = _streams(job, path, count + 50)
        _warm_up(store)
        append(streams[:50])
        return 1e6 * seconds(lambda: append(streams[50:])) / count


def _conditional(job: Job, item: QueryItem, *, is_after_head: bool, after: int = 0) -> float:
    count = job.count(1_000, 50)
    with sacho.connect(url(job.prepared / LONG_FILE)) as store:
        after = store.head() if is_after_head else after
        _warm_up(store)
        condition = AppendCondition(Query(item), after)

        def append(appends: int) -> None:
            for number in range(appends):
                store.append(None, [PageVisited(f"/conferences/{number}")], condition=condition)

        append(50)
        return 1e6 * seconds(lambda: append(count)) / count


def _warm_up(store: EventStore) -> None:
    """Append unrelated events until the WAL has reached its size, so that no later append has to make the file longer."""
    for _ in range(WARM_UP):
        store.append(None, [PageVisited("/") for _ in range(20)])

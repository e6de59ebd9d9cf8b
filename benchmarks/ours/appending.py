"""Sacho's appends. Timed from typed event to acknowledged, durable commit; neither opening the file nor the fields are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import sacho
from benchmarks.domain import STREAMS, Reservation, going_round, reservation, reservations
from benchmarks.job import Job
from benchmarks.ours.logs import fresh
from benchmarks.ours.seats import SeatsReserved, TaggedSeatsReserved
from benchmarks.timing import seconds, seconds_in_tasks, seconds_in_threads
from sacho import AppendCondition, EventStore, Query, QueryItem
from sacho.aio import AsyncEventStore

WARM_UP = 100
"""How many appends of a hundred make SQLite's WAL as long as it gets, so that no timed one makes the file longer."""


def one(job: Job) -> float:
    """Events a second: one thread, one event per append, over 20 streams, each at the version expected."""
    count = job.count(4_000, 200)
    with sacho.connect(fresh(job)) as store:
        append_hundreds(store, "before", WARM_UP)
        _append_singly(store, "warm", going_round(100, 1))
        wanted = going_round(count, 1)
        return count / seconds(lambda: _append_singly(store, "seats", wanted))


def sixteen_threads(job: Job) -> float:
    """Events a second: 16 threads with one store, one event per append, each thread in a stream of its own."""
    each = job.count(1_000, 30)
    with sacho.connect(fresh(job)) as store:
        append_hundreds(store, "before", WARM_UP)
        wanted = [reservations(caller, range(each)) for caller in range(16)]
        seconds_in_threads(16, lambda caller: append_in_turn(store, f"warm-{caller}", wanted[caller][:20]))
        took = seconds_in_threads(16, lambda caller: append_in_turn(store, f"seats-{caller}", wanted[caller]))
        return 16 * each / took


def sixty_four_tasks(job: Job) -> float:
    """Events a second: 64 tasks of one loop, one event per append, each task in a stream of its own."""
    return asyncio.run(_sixty_four_tasks(job, job.count(400, 10)))


def hundred(job: Job) -> float:
    """Events a second: one thread, 100 events per append, each with an id (made by the store) and one tag."""
    return _hundred(job, TaggedSeatsReserved)


def hundred_untagged(job: Job) -> float:
    """Events a second: one thread, 100 events per append, each with an id, without tags."""
    return _hundred(job, SeatsReserved)


def with_condition(job: Job) -> float:
    """Events a second: each append on condition that its tag (a reservation's id) was never used, the log holding 10,000 others."""
    return _tagged(job, conditional=True)


def without_condition(job: Job) -> float:
    """Events a second: the same events with the same tags, without the condition."""
    return _tagged(job, conditional=False)


def append_hundreds(store: EventStore, category: str, appends: int) -> None:
    """Append a hundred tagged events at a time, going round over 20 streams."""
    _append_hundreds(store, category, going_round(appends, 100))


def append_in_turn(store: EventStore, stream: str, wanted: Sequence[Reservation]) -> None:
    """Append one event after the other to one stream, which is not there yet."""
    for number, fields in enumerate(wanted):
        store.append(stream, [SeatsReserved(*fields)], expected=number)


def _append_singly(store: EventStore, category: str, wanted: Sequence[Sequence[Reservation]]) -> None:
    for number, (fields,) in enumerate(wanted):
        version, stream = divmod(number, STREAMS)
        store.append(f"{category}-{stream}", [SeatsReserved(*fields)], expected=version)


def _hundred(job: Job, made: type[SeatsReserved | TaggedSeatsReserved]) -> float:
    appends = job.count(200, 10)
    with sacho.connect(fresh(job)) as store:
        append_hundreds(store, "before", WARM_UP)
        wanted = going_round(appends, 100)
        return 100 * appends / seconds(lambda: _append_hundreds(store, "seats", wanted, made))


def _append_hundreds(
    store: EventStore,
    category: str,
    wanted: Sequence[Sequence[Reservation]],
    made: type[SeatsReserved | TaggedSeatsReserved] = TaggedSeatsReserved,
) -> None:
    for number, hundred in enumerate(wanted):
        version, stream = divmod(number, STREAMS)
        events = [made(*fields) for fields in hundred]
        store.append(f"{category}-{stream}", events, expected=version * 100)


async def _sixty_four_tasks(job: Job, each: int) -> float:
    async with sacho.connect_async(fresh(job)) as store:
        append_hundreds(store.blocking, "before", WARM_UP)
        wanted = [reservations(caller, range(each)) for caller in range(64)]
        await seconds_in_tasks(64, lambda caller: _append_async(store, f"warm-{caller}", wanted[caller][:5]))
        took = await seconds_in_tasks(64, lambda caller: _append_async(store, f"seats-{caller}", wanted[caller]))
        return 64 * each / took


async def _append_async(store: AsyncEventStore, stream: str, wanted: Sequence[Reservation]) -> None:
    for number, fields in enumerate(wanted):
        await store.append(stream, [SeatsReserved(*fields)], expected=number)


def _tagged(job: Job, *, conditional: bool) -> float:
    count = job.count(3_000, 200)
    with sacho.connect(fresh(job)) as store:
        append_hundreds(store, "before", WARM_UP)
        _append_tagged(store, _unique(1_000_000, 100), conditional=conditional)
        wanted = _unique(2_000_000, count)
        return count / seconds(lambda: _append_tagged(store, wanted, conditional=conditional))


def _unique(first: int, count: int) -> list[Reservation]:
    """Return the fields of events each of which has a conference, and so a tag, that no other has."""
    return [reservation(number, number) for number in range(first, first + count)]


def _append_tagged(store: EventStore, wanted: Sequence[Reservation], *, conditional: bool) -> None:
    for number, fields in enumerate(wanted):
        event = TaggedSeatsReserved(*fields)
        condition = None
        if conditional:
            condition = AppendCondition(Query(QueryItem(tags=[f"conference:{event.conference_id}"])))
        store.append(f"seats-{number % STREAMS}", [event], condition=condition)

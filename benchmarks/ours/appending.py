"""Sacho's appends. Timed from typed event to acknowledged, durable commit; opening the file is not."""

from __future__ import annotations

import asyncio

import sacho
from benchmarks.domain import reservation
from benchmarks.job import Job
from benchmarks.ours.seats import SeatsReserved, TaggedSeatsReserved, url
from benchmarks.timing import seconds, seconds_in_tasks, seconds_in_threads
from sacho import AppendCondition, EventStore, Query, QueryItem
from sacho.aio import AsyncEventStore

STREAMS = 20
WARM_UP = 100
"""How many appends of a hundred make the WAL as long as it gets, so that no timed one makes the file longer."""


def one(job: Job) -> float:
    """Events a second: one thread, one event per append, over 20 streams, each at the version expected."""
    count = job.count(4_000, 200)
    with sacho.connect(url(job.file("log.db"))) as store:
        append_hundreds(store, "before", WARM_UP)
        _append_singly(store, "warm", 100)
        return count / seconds(lambda: _append_singly(store, "seats", count))


def sixteen_threads(job: Job) -> float:
    """Events a second: 16 threads with one store, one event per append, each thread in a stream of its own."""
    each = job.count(1_000, 30)
    with sacho.connect(url(job.file("log.db"))) as store:

        def append(caller: int, stream: str, count: int) -> None:
            for number in range(count):
                store.append(f"{stream}-{caller}", [SeatsReserved(*reservation(caller, number))], expected=number)

        append_hundreds(store, "before", WARM_UP)
        seconds_in_threads(16, lambda caller: append(caller, "warm", 20))
        return 16 * each / seconds_in_threads(16, lambda caller: append(caller, "seats", each))


def sixty_four_tasks(job: Job) -> float:
    """Events a second: 64 tasks of one loop, one event per append, each task in a stream of its own."""
    return asyncio.run(_sixty_four_tasks(job, job.count(400, 10)))


def hundred(job: Job) -> float:
    """Events a second: one thread, 100 events per append, each with an id (made by the store) and one tag."""
    appends = job.count(200, 10)
    with sacho.connect(url(job.file("log.db"))) as store:
        append_hundreds(store, "before", WARM_UP)
        return 100 * appends / seconds(lambda: append_hundreds(store, "seats", appends))


def with_condition(job: Job) -> float:
    """Events a second: each append on condition that its tag (a reservation's id) was never used, the log holding 10,000 others."""
    return _tagged(job, conditional=True)


def without_condition(job: Job) -> float:
    """Events a second: the same events with the same tags, without the condition."""
    return _tagged(job, conditional=False)


def _append_singly(store: EventStore, category: str, count: int) -> None:
    for number in range(count):
        version, stream = divmod(number, STREAMS)
        store.append(f"{category}-{stream}", [SeatsReserved(*reservation(stream, number))], expected=version)


def append_hundreds(store: EventStore, category: str, appends: int) -> None:
    """Append a hundred tagged events at a time, going round over 20 streams."""
    for number in range(appends):
        version, stream = divmod(number, STREAMS)
        first = number * 100
        events = [TaggedSeatsReserved(*reservation(stream, one)) for one in range(first, first + 100)]
        store.append(f"{category}-{stream}", events, expected=version * 100)


async def _sixty_four_tasks(job: Job, each: int) -> float:
    async with sacho.connect_async(url(job.file("log.db"))) as store:
        append_hundreds(store.blocking, "before", WARM_UP)
        await seconds_in_tasks(64, lambda caller: _append_in_turn(store, f"warm-{caller}", caller, 5))
        took = await seconds_in_tasks(64, lambda caller: _append_in_turn(store, f"seats-{caller}", caller, each))
        return 64 * each / took


async def _append_in_turn(store: AsyncEventStore, stream: str, caller: int, count: int) -> None:
    for number in range(count):
        await store.append(stream, [SeatsReserved(*reservation(caller, number))], expected=number)


def _tagged(job: Job, *, conditional: bool) -> float:
    count = job.count(3_000, 200)
    with sacho.connect(url(job.file("log.db"))) as store:
        append_hundreds(store, "before", WARM_UP)
        _append_tagged(store, 1_000_000, 100, conditional=conditional)
        return count / seconds(lambda: _append_tagged(store, 2_000_000, count, conditional=conditional))


def _append_tagged(store: EventStore, first: int, count: int, *, conditional: bool) -> None:
    """Append one event each with a tag that no other has."""
    for number in range(first, first + count):
        event = TaggedSeatsReserved(*reservation(number, number))
        condition = None
        if conditional:
            condition = AppendCondition(Query(QueryItem(tags=[f"conference:{event.conference_id}"])))
        store.append(f"seats-{number % STREAMS}", [event], condition=condition)

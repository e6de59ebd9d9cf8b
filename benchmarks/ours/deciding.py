"""Sacho's commands, through the handler: state, decide, append, durable."""

from __future__ import annotations

import asyncio

import sacho
from benchmarks.domain import SEAT_TYPE, conference_id, reservation
from benchmarks.job import Job
from benchmarks.ours.appending import WARM_UP, append_hundreds
from benchmarks.ours.logs import fresh
from benchmarks.ours.seats import AddSeats, Command, MakeReservation, SeatsDecider, SeatsEvent, State
from benchmarks.timing import seconds, seconds_in_tasks
from sacho import CommandHandler
from sacho.aio import AsyncCommandHandler

ENOUGH_SEATS = 100_000_000
COMMANDS_PER_ENTITY = 20

Handler = CommandHandler[Command, State, SeatsEvent]
AsyncHandler = AsyncCommandHandler[Command, State, SeatsEvent]


def hot_entity(job: Job) -> float:
    """Commands a second: 64 tasks book seats of one conference through one handler; every command must succeed."""
    return asyncio.run(_hot_entity(job, job.count(100, 5)))


def load_decide_append(job: Job) -> float:
    """Commands a second: one caller, 20 commands for one entity after the other, the state read from the log each time.

    The handler's cache is off (`cache_size=0`), since this row is about loading.
    """
    return _decide(job, cache_size=0)


def cached_decide_append(job: Job) -> float:
    """The same with the handler as it comes: the state from its cache, checked against the log."""
    return _decide(job, cache_size=None)


async def _hot_entity(job: Job, each: int) -> float:
    async with sacho.connect_async(fresh(job)) as store:
        handler: AsyncHandler = AsyncCommandHandler(store, SeatsDecider())
        append_hundreds(store.blocking, "before", WARM_UP)
        for stream in ("seats-warm", "seats-1"):
            await handler.handle(stream, AddSeats(conference_id(1), SEAT_TYPE, ENOUGH_SEATS))
        await seconds_in_tasks(64, lambda caller: _book(handler, "seats-warm", caller, 5))
        took = await seconds_in_tasks(64, lambda caller: _book(handler, "seats-1", caller, each))
        version = (await handler.load("seats-1")).version
    if version != 64 * each + 1:
        raise AssertionError(f"{version - 1} reservations were recorded, not {64 * each}")
    return 64 * each / took


async def _book(handler: AsyncHandler, stream: str, caller: int, count: int) -> None:
    for number in range(count):
        await handler.handle(stream, MakeReservation(reservation(1, caller * count + number)))


def _decide(job: Job, cache_size: int | None) -> float:
    entities = job.count(100, 5)
    with sacho.connect(fresh(job)) as store:
        handler: Handler
        if cache_size is None:
            handler = CommandHandler(store, SeatsDecider())
        else:
            handler = CommandHandler(store, SeatsDecider(), cache_size=cache_size)
        append_hundreds(store, "before", WARM_UP)
        _go_through(handler, "warm", 5)
        return entities * COMMANDS_PER_ENTITY / seconds(lambda: _go_through(handler, "seats", entities))


def _go_through(handler: Handler, category: str, entities: int) -> None:
    for entity in range(entities):
        stream = f"{category}-{entity}"
        handler.handle(stream, AddSeats(conference_id(entity), SEAT_TYPE, ENOUGH_SEATS))
        for number in range(COMMANDS_PER_ENTITY - 1):
            handler.handle(stream, MakeReservation(reservation(entity, number)))

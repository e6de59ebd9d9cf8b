"""Subscriptions for asyncio: catch up, then live, each event once, in order, without a thread for each who waits."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import sacho
from sacho import Event, Query, QueryItem
from sacho.aio import AsyncEventStore, AsyncSubscription
from sacho.errors import InvalidQuery, StoreClosed, UnknownEventType
from tests.aio.loops import in_a_loop


class Ticked(Event, type="aio-ticked"):
    number: int


class Tocked(Event, type="aio-tocked"):
    number: int


TICKS = Query(QueryItem(types=[Ticked]))


async def tick(store: AsyncEventStore, *numbers: int) -> None:
    await store.append("clock-1", [Ticked(number) for number in numbers])


async def take(subscription: AsyncSubscription, count: int) -> list[int]:
    taken: list[int] = []
    while len(taken) < count:
        recorded = await subscription.next()
        assert recorded is not None
        taken.append(recorded.event.number)
    return taken


@in_a_loop
async def test_a_subscription_catches_up_and_then_follows(url: str) -> None:
    async with sacho.connect_async(url) as store:
        await tick(store, *range(1_200))
        async with store.subscribe() as live:
            assert await take(live, 1_200) == list(range(1_200))
            waiting = asyncio.create_task(take(live, 3))
            await asyncio.sleep(0)
            await tick(store, 1_200)
            await tick(store, 1_201, 1_202)
            assert await waiting == [1_200, 1_201, 1_202]


@in_a_loop
async def test_there_is_no_gap_and_no_repeat_at_the_seam(url: str) -> None:
    async with sacho.connect_async(url) as store:

        async def write() -> None:
            for number in range(500):
                await tick(store, number)

        writing = asyncio.create_task(write())
        async with store.subscribe() as live:
            assert await take(live, 500) == list(range(500))
        await writing


@in_a_loop
async def test_a_subscription_is_iterated_until_it_is_closed(url: str) -> None:
    async with sacho.connect_async(url) as store:
        await tick(store, 1, 2)
        seen = []
        async with store.subscribe() as live:
            async for recorded in live:
                seen.append(recorded.event.number)
                if len(seen) == 2:
                    await live.close()
        assert seen == [1, 2]
        assert live.closed


@in_a_loop
async def test_a_subscription_begins_after_a_position_and_passes_over_what_does_not_match(url: str) -> None:
    async with sacho.connect_async(url) as store:
        await tick(store, 1)
        head = await store.head()
        await store.append("clock-1", [Tocked(1), Ticked(2), Tocked(2), Ticked(3)])
        async with store.subscribe(TICKS, after=head) as live:
            assert await take(live, 2) == [2, 3]
            assert live.position == await store.head()
            await store.append("clock-1", [Tocked(4)])
            assert await live.next(timeout=0.05) is None
            await tick(store, 4)
            assert await take(live, 1) == [4]


@in_a_loop
async def test_a_timeout_gives_none_and_loses_nothing(url: str) -> None:
    async with sacho.connect_async(url) as store, store.subscribe() as live:
        assert await live.next(timeout=0.01) is None
        assert await live.next(timeout=0) is None
        await tick(store, *range(100))
        taken: list[int] = []
        while len(taken) < 100:
            recorded = await live.next(timeout=0.0005)
            if recorded is not None:
                taken.append(recorded.event.number)
        assert taken == list(range(100))


@in_a_loop
async def test_a_cancelled_wait_loses_nothing(url: str) -> None:
    async with sacho.connect_async(url) as store, store.subscribe() as live:
        for number in range(50):
            waiting = asyncio.create_task(live.next())
            await asyncio.sleep(0)
            await tick(store, number)
            waiting.cancel()
            got = await asyncio.gather(waiting, return_exceptions=True)
            if isinstance(got[0], asyncio.CancelledError):
                assert await take(live, 1) == [number]
            else:
                assert not isinstance(got[0], BaseException)
                assert got[0] is not None
                assert got[0].event.number == number


@in_a_loop
async def test_closing_a_subscription_ends_the_wait_of_another_task(url: str) -> None:
    async with sacho.connect_async(url) as store, store.subscribe() as live:
        waiting = asyncio.create_task(live.next(timeout=None))
        await asyncio.sleep(0)
        await live.close()
        await live.close()
        assert await waiting is None
        assert await live.next() is None


@in_a_loop
async def test_closing_the_store_tells_all_who_wait(url: str) -> None:
    store = await sacho.connect_async(url)
    subscriptions = [store.subscribe() for _ in range(5)]
    waiting = [asyncio.create_task(one.next()) for one in subscriptions]
    for _ in range(3):
        await store.head()
    await store.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [StoreClosed] * 5
    with pytest.raises(StoreClosed):
        await subscriptions[0].next()


@in_a_loop
async def test_many_subscribers_each_get_every_event_once_in_order_with_few_threads(url: str) -> None:
    others_threads = threading.active_count()
    async with sacho.connect_async(url) as store:
        subscriptions = [store.subscribe() for _ in range(500)]
        waiting = [asyncio.create_task(take(one, 60)) for one in subscriptions]
        await asyncio.sleep(0)
        for start in range(0, 60, 3):
            await tick(store, start, start + 1, start + 2)
        assert all(numbers == list(range(60)) for numbers in await asyncio.gather(*waiting))
        assert threading.active_count() - others_threads < 15


@in_a_loop
async def test_events_of_another_store_on_the_same_file_arrive(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'aio.db'}"
    async with sacho.connect_async(url) as store, sacho.connect_async(url) as other:
        async with store.subscribe() as live:
            for number in range(20):
                await tick(other, number)
                assert await take(live, 1) == [number]


@in_a_loop
async def test_a_subscription_without_a_block_works_too(url: str) -> None:
    async with sacho.connect_async(url) as store:
        await tick(store, 1)
        live = store.subscribe()
        assert await take(live, 1) == [1]
        await live.close()


@in_a_loop
async def test_what_cannot_be_meant_is_refused_at_once(url: str) -> None:
    async with sacho.connect_async(url) as store:
        with pytest.raises(InvalidQuery):
            store.subscribe(after=-1)
        with pytest.raises(InvalidQuery):
            store.subscribe("clock")  # type: ignore[arg-type]


@in_a_loop
async def test_an_event_that_cannot_be_read_is_an_error_for_its_subscriber_only(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'aio.db'}"
    async with sacho.connect_async(url) as store:
        await tick(store, 1)
        await store.append("clock-1", [Tocked(2)])
    async with sacho.connect_async(url, registry=sacho.Registry(Ticked)) as store:
        async with store.subscribe() as all_of_it, store.subscribe(TICKS) as ticks:
            with pytest.raises(UnknownEventType):
                await take(all_of_it, 2)
            assert await take(ticks, 1) == [1]

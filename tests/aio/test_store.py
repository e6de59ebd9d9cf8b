"""The store for asyncio: connecting, appending, reading. The same names, awaited, and the same errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import sacho
from sacho import ANY, EXISTS, NO_STREAM, Append, AppendCondition, Event, EventData, Query, QueryItem, RawEvent, uuid7
from sacho.aio import AsyncEventStore
from sacho.errors import (
    AppendConditionFailed,
    DuplicateEventId,
    ForeignDatabase,
    InvalidAppend,
    InvalidName,
    InvalidQuery,
    StoreClosed,
    UnknownEventType,
    UnknownScheme,
    UnsupportedOperation,
    WrongExpectedVersion,
)
from tests.aio.loops import PATIENCE, in_a_loop


class Noted(Event, type="aio-noted", tags=("topic:{topic}",)):
    number: int
    topic: str = "none"


async def events(reading: Any) -> list[Any]:
    return [recorded.event async for recorded in reading]


# --- connecting ---------------------------------------------------------------------------------------


@in_a_loop
async def test_a_store_is_opened_and_closed_by_a_block(url: str) -> None:
    async with sacho.connect_async(url) as store:
        await store.append("note-1", [Noted(1)])
    with pytest.raises(StoreClosed):
        await store.append("note-1", [Noted(2)])


@in_a_loop
async def test_what_was_begun_before_the_end_is_recorded(url: str) -> None:
    """Also appends that no turn of the loop has handed in yet. Seen to fail when close() does not send them."""
    store = await sacho.connect_async(url)
    begun = [store.append(f"note-{number}", [Noted(number)]) for number in range(20)]
    tasks = [asyncio.ensure_future(one) for one in begun]
    await asyncio.sleep(0)
    await store.close()
    assert [(await task).version for task in tasks] == [1] * 20


@in_a_loop
async def test_a_store_may_be_awaited_and_closed_by_hand_and_twice(url: str) -> None:
    store = await sacho.connect_async(url)
    assert (await store.append("note-1", [Noted(1)])).version == 1
    await store.close()
    await store.close()
    with pytest.raises(StoreClosed):
        await store.head()


@in_a_loop
async def test_what_is_wrong_with_connecting_is_raised_where_it_is_awaited(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    foreign.write_text("no database, but long enough to be looked at" * 20)
    for url, error in (("nowhere://", UnknownScheme), (f"sqlite:///{foreign}", ForeignDatabase)):
        with pytest.raises(error):
            async with sacho.connect_async(url):
                pytest.fail("it was opened")
    with pytest.raises(UnsupportedOperation):
        await sacho.connect_async("memory://", require={"durable"})


@in_a_loop
async def test_a_store_knows_its_log_and_shows_no_more_than_its_url(url: str) -> None:
    async with sacho.connect_async(url) as store:
        assert store.identity == store.blocking.identity
        assert "conditions" in store.capabilities
        assert url.partition(":")[0] in repr(store)


# --- appending ----------------------------------------------------------------------------------------


@in_a_loop
async def test_an_append_says_where_its_events_stand(url: str) -> None:
    async with sacho.connect_async(url) as store:
        first = await store.append("note-1", [Noted(1), Noted(2)], expected=NO_STREAM)
        second = await store.append("note-1", [Noted(3)], expected=2)
        assert (first.version, second.version) == (2, 3)
        assert second.position > first.position == await store.head() - 1
        await store.append("note-1", [Noted(4)], expected=EXISTS)
        await store.append("note-1", [Noted(5)], expected=ANY)
        assert await store.version("note-1") == 5


@in_a_loop
async def test_what_is_wrong_with_an_append_is_raised_where_it_is_awaited(url: str) -> None:
    async with sacho.connect_async(url) as store:
        with pytest.raises(WrongExpectedVersion) as conflict:
            await store.append("note-1", [Noted(1)], expected=3)
        assert (conflict.value.stream, conflict.value.expected, conflict.value.actual) == ("note-1", 3, 0)
        with pytest.raises(InvalidAppend):
            await store.append("note-1", [])
        with pytest.raises(InvalidName):
            await store.append("", [Noted(1)])
        with pytest.raises(InvalidAppend):
            await store.append_many([])
        assert await store.head() == 0


@in_a_loop
async def test_an_append_over_several_streams_is_all_or_nothing(url: str) -> None:
    async with sacho.connect_async(url) as store:
        done = await store.append_many([Append("note-1", [Noted(1)]), Append("note-2", [Noted(2), Noted(3)])])
        assert [one.version for one in done] == [1, 2]
        with pytest.raises(WrongExpectedVersion):
            await store.append_many([Append("note-1", [Noted(4)]), Append("note-2", [Noted(5)], NO_STREAM)])
        assert [event.number for event in await events(store.read_all())] == [1, 2, 3]


@in_a_loop
async def test_a_condition_guards_what_was_read(url: str) -> None:
    query = Query(QueryItem(tags=["topic:tea"]))
    async with sacho.connect_async(url) as store:
        await store.append(None, [Noted(1, "tea")])
        found = await store.read_all(query)
        await store.append("note-1", [Noted(2, "coffee")])
        done = await store.append(None, [Noted(3, "tea")], condition=AppendCondition(query, after=found.head))
        assert done.version is None
        with pytest.raises(AppendConditionFailed) as failed:
            await store.append(None, [Noted(4, "tea")], condition=AppendCondition(query, after=found.head))
        assert failed.value.position == done.position
        assert [event.number for event in await events(store.read_all(query))] == [1, 3]


@in_a_loop
async def test_of_many_tasks_under_one_condition_one_wins(url: str) -> None:
    query = Query(QueryItem(tags=["topic:tea"]))
    async with sacho.connect_async(url) as store:
        condition = AppendCondition(query, after=await store.head())
        results = await asyncio.gather(
            *(store.append(None, [Noted(number, "tea")], condition=condition) for number in range(50)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, AppendConditionFailed) for result in results) == 49
        assert len(await events(store.read_all(query))) == 1


@in_a_loop
async def test_the_same_ids_again_return_the_first_result(url: str) -> None:
    note = EventData(Noted(1), id=uuid7())
    async with sacho.connect_async(url) as store:
        first = await store.append("note-1", [note], expected=NO_STREAM)
        assert await store.append("note-1", [note], expected=NO_STREAM) == first
        with pytest.raises(DuplicateEventId):
            await store.append("note-1", [EventData(Noted(2), id=note.id)])


@in_a_loop
async def test_tasks_that_append_together_to_a_file_share_commits(tmp_path: Path) -> None:
    async with sacho.connect_async(f"sqlite:///{tmp_path / 'aio.db'}") as store:
        done = await asyncio.gather(*(store.append(f"note-{number}", [Noted(number)]) for number in range(500)))
        assert len({one.position for one in done}) == 500
        assert store.blocking.storage.statistics().commits < 250


@in_a_loop
async def test_metadata_of_a_task_stays_with_the_task(url: str) -> None:
    async with sacho.connect_async(url) as store:

        async def note(number: int) -> None:
            with sacho.metadata(actor=f"actor {number}", correlation_id=f"c{number}"):
                await asyncio.sleep(0)
                await store.append(f"note-{number}", [Noted(number)])

        await asyncio.gather(*(note(number) for number in range(20)))
        async for recorded in store.read_all():
            assert recorded.metadata["actor"] == f"actor {recorded.event.number}"
        assert [recorded.event.number async for recorded in store.correlated("c7")] == [7]


@in_a_loop
async def test_a_cancelled_append_may_have_happened_and_its_id_tells(url: str) -> None:
    async with sacho.connect_async(url) as store:
        for number in range(50):
            note = EventData(Noted(number), id=uuid7())
            task = asyncio.create_task(store.append("note-1", [note]))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            settled = await store.append("note-1", [note])
            assert settled == await store.append("note-1", [note])
            assert settled.version == number + 1
        assert [event.number for event in await events(store.read("note-1"))] == list(range(50))


@in_a_loop
async def test_an_append_that_times_out_may_have_happened_and_its_id_tells(url: str) -> None:
    note = EventData(Noted(1), id=uuid7())
    async with sacho.connect_async(url) as store:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await store.append("note-1", [note])
        assert (await store.append("note-1", [note])).version == 1
        assert await store.version("note-1") == 1


@in_a_loop
async def test_closing_lets_appends_under_way_end_or_tells_them(url: str) -> None:
    store = await sacho.connect_async(url)
    waiting = [asyncio.ensure_future(store.append(f"note-{number}", [Noted(number)])) for number in range(100)]
    await asyncio.sleep(0)
    await store.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, StoreClosed | sacho.events.Appended) for result in results)


# --- reading ------------------------------------------------------------------------------------------


@in_a_loop
async def test_a_stream_is_read_in_ranges_and_both_directions(url: str) -> None:
    async with sacho.connect_async(url) as store:
        await store.append("note-1", [Noted(number) for number in range(1, 11)])
        cases: list[tuple[dict[str, Any], list[int]]] = [
            ({}, list(range(1, 11))),
            ({"after": 8}, [9, 10]),
            ({"to": 2}, [1, 2]),
            ({"after": 3, "to": 7, "limit": 2}, [4, 5]),
            ({"backwards": True, "limit": 3}, [10, 9, 8]),
            ({"after": 99}, []),
        ]
        for options, expected in cases:
            assert [event.number for event in await events(store.read("note-1", **options))] == expected
        assert await events(store.read("note-2")) == []


@in_a_loop
async def test_the_whole_log_is_read_page_by_page(url: str) -> None:
    async with sacho.connect_async(url) as store:
        for start in range(0, 5_000, 500):
            await store.append("note-1", [Noted(number) for number in range(start, start + 500)])
        sizes = [len(page) async for page in store.read_all().pages()]
        assert (sum(sizes), max(sizes)) == (5_000, 2_000)
        assert [event.number for event in await events(store.read_all())] == list(range(5_000))


@in_a_loop
async def test_a_reading_knows_its_head_once_it_has_begun_and_ends_there(url: str) -> None:
    async with sacho.connect_async(url) as store:
        await store.append("note-1", [Noted(1)])
        reading = store.read_all()
        with pytest.raises(InvalidQuery, match="has not begun"):
            _ = reading.head
        found = await reading
        await store.append("note-1", [Noted(2)])
        assert found.head < await store.head()
        assert [event.number for event in await events(found)] == [1]


@in_a_loop
async def test_what_is_wrong_with_a_read_is_raised_when_it_begins(url: str) -> None:
    async with sacho.connect_async(url) as store:
        with pytest.raises(InvalidQuery):
            await store.read("note-1", after=-1)
        with pytest.raises(InvalidName):
            await events(store.read(""))


@in_a_loop
async def test_an_unknown_type_is_an_error_or_a_raw_event(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'aio.db'}"
    async with sacho.connect_async(url) as store:
        await store.append("note-1", [Noted(1, "tea")])
    async with sacho.connect_async(url, registry=sacho.Registry()) as store:
        with pytest.raises(UnknownEventType):
            await events(store.read("note-1"))
        assert await events(store.read("note-1", raw=True)) == [RawEvent("aio-noted", {"number": 1, "topic": "tea"})]


@in_a_loop
async def test_events_streams_categories_and_moments_are_found(url: str) -> None:
    id = uuid7()
    async with sacho.connect_async(url) as store:
        await store.append("note-1", [EventData(Noted(1), id=id)])
        await store.append("memo-1", [Noted(2)])
        found = await store.find(id)
        assert found is not None
        assert (found.event, found.stream) == (Noted(1), "note-1")
        assert await store.find(uuid7()) is None
        assert [info.stream async for info in store.streams()] == ["memo-1", "note-1"]
        assert [info.stream async for info in store.streams("note")] == ["note-1"]
        assert [info.category for info in await store.categories()] == ["memo", "note"]
        assert await store.position_at(datetime.now(UTC)) == await store.head()


@in_a_loop
async def test_calls_run_beside_each_other_and_none_blocks_the_loop(url: str) -> None:
    """While a read is decoded elsewhere the loop goes on."""
    async with sacho.connect_async(url) as store:
        await store.append("note-1", [Noted(number) for number in range(2_000)])
        reads = asyncio.gather(*(events(store.read_all()) for _ in range(20)))
        turns = 0
        while not reads.done():
            await asyncio.sleep(0)
            turns += 1
        assert [len(each) for each in await reads] == [2_000] * 20
        assert turns > 20


def test_one_store_for_each_of_several_loops_in_threads(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'aio.db'}"

    async def work(name: str) -> None:
        async with sacho.connect_async(url) as store:
            await _append_ten(store, name)

    threads = [threading.Thread(target=_run, args=(partial(work, f"note-{at}"),), daemon=True) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    with sacho.connect(url) as store:
        assert [info.version for info in store.streams()] == [10] * 4


async def _append_ten(store: AsyncEventStore, name: str) -> None:
    for number in range(10):
        await store.append(name, [Noted(number)])


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())

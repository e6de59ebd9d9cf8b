"""Plain consumers: blocking and asyncio handlers, message ids that stay the same, where they start, which events they get."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime
from typing import ClassVar
from uuid import UUID

import pytest
import sqlalchemy as sa

from sacho import Query, QueryItem, RecordedEvent
from sacho.errors import ConsumerStopped, InvalidConsumer
from sacho.reacting import Consumer, Delivery, handles
from tests.reacting.conftest import Place
from tests.reacting.domain import AT_ONCE, PATIENCE, Left, Noise, Scored, caught_up, scored, until


class Heard(Consumer):
    """Notes what it is given."""

    retry = AT_ONCE

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.fails: dict[int, int] = {}

    @handles(Scored)
    def scored(self, event: Scored, delivery: Delivery) -> None:
        self.note(event, delivery)

    def note(self, event: Scored, delivery: Delivery) -> None:
        assert delivery.recorded.event is event
        self.deliveries.append(delivery)
        if self.fails.get(event.points, 0) > 0:
            self.fails[event.points] -= 1
            raise ConnectionError("not yet")

    @property
    def points(self) -> list[int]:
        return [one.recorded.event.points for one in self.deliveries]


class AsyncHeard(Heard):
    """The same in asyncio."""

    loops: ClassVar[set[int]] = set()

    @handles(Scored)
    async def scored(self, event: Scored, delivery: Delivery) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.loops.add(id(asyncio.get_running_loop()))
        self.note(event, delivery)


KINDS = pytest.mark.parametrize("kind", [Heard, AsyncHeard])


@KINDS
def test_each_event_is_handled_once_and_in_order_where_nothing_fails(place: Place, kind: type[Heard]) -> None:
    heard = kind()
    for number in range(3):
        place.store.append("game-1", [*scored("ann", *range(number * 10, number * 10 + 10)), Noise()])
        place.run(heard)
    assert heard.points == [*range(30)]


@KINDS
def test_an_event_is_delivered_again_under_the_same_message_id(place: Place, kind: type[Heard]) -> None:
    heard = kind()
    heard.fails = {2: 2}
    place.store.append("game-1", scored("ann", 1, 2, 3))
    place.run(heard)
    assert heard.points == [1, 2, 2, 2, 3]
    ids = {one.recorded.position: set[UUID]() for one in heard.deliveries}
    for one in heard.deliveries:
        ids[one.recorded.position].add(one.message_id)
    assert [len(found) for found in ids.values()] == [1, 1, 1]
    assert len(set.union(*ids.values())) == 3


def test_message_ids_are_the_same_after_a_stop_and_other_for_other_consumers(place: Place) -> None:
    class Other(Heard):
        pass

    heard, again, other = Heard(), Heard(), Other()
    heard.fails = {1: 99}
    place.store.append("game-1", scored("ann", 1))
    with pytest.raises(ConsumerStopped):
        place.run(heard)
    with place.running(again, other) as app:
        app.administration.retry(again)
        until(lambda: again.deliveries)
        caught_up(app, other)
    ids = {one.message_id for one in heard.deliveries + again.deliveries}
    assert len(ids) == 1
    assert other.deliveries[0].message_id not in ids


def test_asyncio_handlers_run_in_the_applications_loop(place: Place) -> None:
    heard = AsyncHeard()
    AsyncHeard.loops.clear()

    async def work() -> int:
        with place.application(heard) as app:
            async with app.running_async():
                done = place.store.append("game-1", scored("ann", 1, 2))
                assert await app.wait_for_async(heard, done.position, PATIENCE)
        return id(asyncio.get_running_loop())

    assert {asyncio.run(work())} == AsyncHeard.loops
    assert heard.points == [1, 2]


def test_blocking_and_asyncio_handlers_stand_in_one_consumer(place: Place) -> None:
    class Mixed(Heard):
        left_by: ClassVar[list[str]] = []

        @handles(Left)
        async def left(self, event: Left, delivery: Delivery) -> None:
            await asyncio.sleep(0)
            self.left_by.append(event.who)

    mixed = Mixed()
    place.store.append("game-1", [*scored("ann", 1), Left("ann"), *scored("bob", 2), Left("bob")])
    place.run(mixed)
    assert (mixed.points, mixed.left_by) == ([1, 2], ["ann", "bob"])


def test_a_new_consumer_that_starts_at_the_end_gets_what_comes_after(place: Place) -> None:
    class FromEnd(Heard):
        start = "end"

    heard = FromEnd()
    place.store.append("game-1", scored("ann", 1, 2))
    place.run(heard)
    place.store.append("game-1", scored("ann", 3))
    place.run(heard)
    assert heard.points == [3]


def test_a_consumer_may_start_after_a_position(place: Place) -> None:
    class FromThere(Heard):
        start = 2

    heard = FromThere()
    place.store.append("game-1", scored("ann", 1, 2, 3, 4))
    place.run(heard)
    assert heard.points == [3, 4]


def test_a_consumer_may_start_after_a_time(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1, 2))
    (*_, last) = place.store.read_all()
    moment = last.recorded_at

    def is_later() -> bool:
        place.store.append("game-1", scored("ann", 3))
        (*_, later) = place.store.read_all()
        return bool(later.recorded_at > moment)

    until(is_later)

    class FromThen(Heard):
        start = moment

    heard = FromThen()
    place.run(heard)
    assert set(heard.points) == {3}
    assert len(heard.points) == place.store.head() - place.store.position_at(moment)


def test_where_it_starts_counts_only_once(place: Place) -> None:
    class Late(Heard):
        start = "end"

    heard = Late()
    place.run(heard)
    place.store.append("game-1", scored("ann", 1))
    place.run(heard)
    place.run(Late())
    assert heard.points == [1]


def test_a_consumer_may_take_one_stream_only(place: Place) -> None:
    class OneGame(Heard):
        stream = "game-1"

    heard = OneGame()
    place.store.append("game-1", scored("ann", 1))
    place.store.append("game-2", scored("ann", 2))
    place.store.append("game-11", scored("ann", 3))
    place.store.append("game-1", scored("ann", 4))
    place.run(heard)
    assert heard.points == [1, 4]


def test_a_query_narrows_what_is_handled(place: Place) -> None:
    class Narrow(Heard):
        query = Query(QueryItem(types=["ReactingScored", "ReactingLeft"], categories=["league"]))

    heard = Narrow()
    place.store.append("game-1", scored("ann", 1))
    place.store.append("league-1", [*scored("ann", 2), Left("ann")])
    place.run(heard)
    assert heard.points == [2]


def test_a_handler_of_every_type_gets_what_no_other_handles(place: Place) -> None:
    class All(Heard):
        rest: ClassVar[list[str]] = []

        @handles("*")
        def any(self, event: object, delivery: Delivery) -> None:
            self.rest.append(delivery.recorded.type)

    heard = All()
    place.store.append("game-1", [*scored("ann", 1), Noise(), Left("ann")])
    place.run(heard)
    assert (heard.points, heard.rest) == ([1], ["ReactingNoise", "ReactingLeft"])


def test_partitions_keep_the_order_within_a_key(place: Place) -> None:
    class Dealt(Heard):
        partitions = 5

    heard = Dealt()
    for number in range(60):
        place.store.append(f"game-{number % 7}", scored(f"player {number % 7}", number))
    place.run(heard)
    assert sorted(heard.points) == [*range(60)]
    for key in range(7):
        mine = [one for one in heard.points if one % 7 == key]
        assert mine == sorted(mine)


def test_two_runners_share_the_partitions_and_each_event_goes_to_one(place: Place) -> None:
    class Shared(Heard):
        partitions = 6

    first, second = Shared(), Shared()
    with place.running(first) as one, place.running(second) as two:
        until(lambda: len({each.owner for each in one.administration.status()[0].partitions} - {None}) == 2)
        for number in range(100):
            place.store.append(f"game-{number}", scored("ann", number))
        caught_up(one, first)
        caught_up(two, second)
    assert set(first.points) | set(second.points) == {*range(100)}
    assert first.points
    assert second.points


def test_a_stop_waits_for_the_event_in_hand(place: Place) -> None:
    class Slow(Heard):
        entered, goes_on = threading.Event(), threading.Event()

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            self.entered.set()
            assert self.goes_on.wait(PATIENCE)
            self.note(event, delivery)

    slow = Slow()
    place.store.append("game-1", scored("ann", 1))
    with place.running(slow):
        assert slow.entered.wait(PATIENCE)
        threading.Timer(0.05, slow.goes_on.set).start()
    assert slow.points == [1]
    place.run(slow)
    assert slow.points == [1]


@pytest.mark.parametrize("start", ["middle", -1, 1.5, None, datetime(2025, 1, 1)])
def test_a_start_that_is_none_is_refused(start: object) -> None:
    with pytest.raises(InvalidConsumer, match="start"):
        type("Wrong", (Heard,), {"start": start})


def test_what_was_done_before_a_database_was_away_is_not_done_again(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(Heard):
        name = "away"
        is_away = True

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            if event.points == 7 and Away.is_away:
                raise sa.exc.OperationalError("SELECT 1", None, Exception("the shop's own server is down"))
            self.note(event, delivery)

    heard = Away()
    place.store.append("game-1", scored("ann", *range(10)))
    with place.running(heard) as app:
        until(lambda: sum("the shop's own server is down" in text for text in caplog.messages))
        until(lambda: app.administration.status()[0].position == 7)
        assert heard.points == list(range(7))
        assert "views' database" not in caplog.text
        Away.is_away = False
        caught_up(app, Away)
    assert heard.points == list(range(10))


def test_a_stop_waits_for_one_slow_event_also_where_those_before_were_quick(place: Place) -> None:
    class Slowing(Consumer):
        seen: ClassVar[list[int]] = []
        gate: ClassVar[threading.Semaphore] = threading.Semaphore(0)

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            self.seen.append(event.points)
            if event.points >= 3_000:
                assert self.gate.acquire(timeout=PATIENCE)

    place.store.append("game-1", scored("ann", *range(3_010)))
    with place.application(Slowing) as app:
        with app.running():
            until(lambda: Slowing.seen[-1:] == [3_000])
            (worker,) = app._runners[0].workers
            worker.stop()
            Slowing.gate.release()
        assert Slowing.seen[-1] == 3_000
        assert app.administration.status()[0].position == 3_001


@pytest.mark.parametrize("partitions", [1, 2])
def test_a_key_may_be_a_number(place: Place, partitions: int) -> None:
    class Numbered(Heard):
        name = f"numbered-{partitions}"
        independent_keys = True

        def key(self, recorded: RecordedEvent) -> str:
            number: str = recorded.event.points % 2  # what a type checker would refuse, and a newcomer writes
            return number

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            if event.points == 1:
                raise ValueError("not this one")
            self.note(event, delivery)

    Numbered.partitions = partitions
    heard = Numbered()
    place.store.append("game-1", scored("ann", *range(6)))
    with place.running(heard) as app:
        until(lambda: len(app.administration.parked(Numbered)) == 3)
        until(lambda: heard.points == [0, 2, 4])


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, SystemExit])
@pytest.mark.parametrize("is_async", [False, True])
def test_whatever_a_handler_raises_is_the_events_fault(
    place: Place, error: type[BaseException], is_async: bool
) -> None:
    class Raising(Consumer):
        retry = AT_ONCE

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> object:
            return self.later() if is_async else self.now()

        def now(self) -> object:
            raise error

        async def later(self) -> None:
            raise error

    with place.running(Raising) as app:
        place.store.append("game-1", scored("ann", 1))
        with pytest.raises(ConsumerStopped, match=error.__name__):
            app.wait_for(Raising, 1, PATIENCE)

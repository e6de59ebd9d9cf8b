"""Subscriptions: what is there, then what comes, each once and in order, until somebody closes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import sacho
from sacho import EventStore, Query, QueryItem, RawEvent, RecordedEvent, Subscription
from sacho.errors import InvalidQuery, StoreClosed, UnknownEventType
from tests.store.seats import REGISTRY, Released, Reserved, reserved, seats

PATIENCE = 120.0


def take(live: Subscription, count: int) -> list[RecordedEvent]:
    """Return the next so many events, each of which must come soon."""
    found = [live.next(timeout=PATIENCE) for _ in range(count)]
    assert None not in found
    return [recorded for recorded in found if recorded is not None]


def in_a_thread(action: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def test_a_subscription_catches_up_and_then_waits_for_more(store: EventStore) -> None:
    store.append("seats-1", reserved(3))
    with store.subscribe() as live:
        assert seats(take(live, 3)) == [1, 2, 3]
        assert live.next(timeout=0.01) is None
        thread = in_a_thread(lambda: store.append("seats-1", [Reserved(4)]))
        assert seats(take(live, 1)) == [4]
        thread.join()


def test_a_subscription_begins_after_a_position(store: EventStore) -> None:
    store.append("seats-1", reserved(5))
    with store.subscribe(after=3) as live:
        assert seats(take(live, 2)) == [4, 5]
        assert live.position == 5
    with store.subscribe(after=store.head()) as live:
        assert live.next(timeout=0) is None
        store.append("seats-1", [Reserved(6)])
        assert seats(take(live, 1)) == [6]


def test_a_subscription_shows_only_what_its_query_means(store: EventStore) -> None:
    query = Query(QueryItem(types=[Released]), QueryItem(tags=["seat:2"], categories=["seats"]))
    with store.subscribe(query) as live:
        for seat in (1, 2, 3):
            store.append("seats-1", [Reserved(seat)])
            store.append("other-1", [Reserved(seat)])
        store.append(None, [Released(9)])
        assert seats(take(live, 2)) == [2, 9]
        assert live.next(timeout=0) is None
        assert live.position == store.head()


def test_the_position_tells_up_to_where_all_was_handed_out(store: EventStore) -> None:
    store.append("seats-1", reserved(3))
    with store.subscribe() as live:
        assert live.position == 0
        for wanted in (1, 2, 3):
            take(live, 1)
            assert live.position == wanted


def test_next_returns_none_when_nothing_comes_in_time(store: EventStore) -> None:
    with store.subscribe() as live:
        assert live.next(timeout=0) is None
        assert live.next(timeout=0.01) is None
        assert not live.closed


@pytest.mark.parametrize("after", [-1, 1.5, "1", None, True])
def test_a_place_that_cannot_be_meant_is_refused(store: EventStore, after: int) -> None:
    with pytest.raises(InvalidQuery):
        store.subscribe(after=after)


def test_closing_from_another_thread_ends_an_iteration_that_waits(store: EventStore) -> None:
    store.append("seats-1", reserved(2))
    seen: list[int] = []
    caught_up = threading.Event()
    live = store.subscribe()

    def follow() -> None:
        for recorded in live:
            seen.append(recorded.event.seat)
            if len(seen) == 2:
                caught_up.set()

    thread = in_a_thread(follow)
    assert caught_up.wait(PATIENCE)
    live.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert seen == [1, 2]
    assert live.closed
    live.close()
    assert live.next() is None


def test_a_closed_subscription_ends_though_events_are_left(store: EventStore) -> None:
    store.append("seats-1", reserved(10))
    with store.subscribe() as live:
        take(live, 1)
    assert list(live) == []
    assert live.next() is None


def test_closing_the_store_ends_a_waiting_subscription_with_an_error(store: EventStore) -> None:
    live = store.subscribe()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(live.next)
        store.close()
        assert isinstance(waiting.exception(PATIENCE), StoreClosed)
    with pytest.raises(StoreClosed):
        live.next(timeout=0)


def test_closing_the_store_ends_an_iteration_with_an_error(store: EventStore) -> None:
    store.append("seats-1", reserved(2))
    live = store.subscribe()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: list(live))
        store.close()
        assert isinstance(waiting.exception(PATIENCE), StoreClosed)


def test_an_event_that_cannot_be_read_is_an_error_of_the_subscription(store: EventStore) -> None:
    store.append("seats-1", [RawEvent("seat-gone", {})])
    with store.subscribe() as live, pytest.raises(UnknownEventType):
        live.next(timeout=PATIENCE)
    with store.subscribe(raw=True) as live:
        assert take(live, 1)[0].event == RawEvent("seat-gone", {})


@pytest.mark.parametrize("query", [Query(), Query(QueryItem(tags=["seat:1"])), Query(QueryItem(types=[Released]))])
def test_no_gap_and_no_repeat_while_another_thread_appends(store: EventStore, query: Query) -> None:
    total = 2_000

    def append() -> None:
        for number in range(1, total + 1):
            kind = Released if number % 4 == 0 else Reserved
            store.append(None if number % 5 else f"seats-{number % 3}", [kind(number % 2)])

    wanted = {Query(): total, Query(QueryItem(tags=["seat:1"])): total // 2}.get(query, total // 4)
    with store.subscribe(query) as live:
        thread = in_a_thread(append)
        seen = [recorded.position for recorded in take(live, wanted)]
        thread.join()
        assert live.next(timeout=0) is None
    assert seen == [recorded.position for recorded in store.read_all(query)]


def test_many_subscribers_each_get_every_event_in_order(store: EventStore) -> None:
    subscriptions = [store.subscribe(after=0) for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        following = [pool.submit(lambda live=live: seats(take(live, 300))) for live in subscriptions]  # type: ignore[misc]
        for start in range(0, 300, 3):
            store.append("seats-1", [Reserved(start + more) for more in range(3)])
        results = [future.result(PATIENCE) for future in following]
    for live in subscriptions:
        live.close()
    assert results == [list(range(300))] * 10


def test_a_subscriber_goes_on_where_it_left(store: EventStore) -> None:
    seen: list[int] = []
    for start in range(0, 40, 4):
        store.append("seats-1", [Reserved(start + more) for more in range(4)])
        with store.subscribe(after=len(seen)) as live:
            seen += seats(take(live, 2))
    assert seen == list(range(20))


def test_subscribers_that_come_and_go_do_not_stop_the_others(tmp_path: object) -> None:
    """Whoever waits is woken by another process's append, however many others end their waiting meanwhile."""
    url = f"sqlite:///{tmp_path}/log.db"
    with sacho.connect(url, registry=REGISTRY) as store, sacho.connect(url, registry=REGISTRY) as other:
        over = threading.Event()

        def come_and_go() -> None:
            while not over.is_set():
                store.subscribe().close()

        threads = [in_a_thread(come_and_go) for _ in range(3)]
        try:
            for seat in range(60):
                with store.subscribe(after=store.head()) as live:
                    other.append("seats-1", [Reserved(seat)])
                    assert seats(take(live, 1)) == [seat]
        finally:
            over.set()
            for thread in threads:
                thread.join()

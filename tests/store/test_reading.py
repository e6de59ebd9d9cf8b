"""Reading through the store: readings, ranges, listings, and what a closed store says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

import sacho
from sacho import Event, EventStore, Query, QueryItem, RawEvent, Registry, uuid7
from sacho.errors import InvalidName, InvalidQuery, SachoError, StoreClosed, UnsupportedOperation
from tests.store.seats import Released, Reserved, events, reserved, seats


def test_a_stream_reads_in_ranges_and_both_directions(store: EventStore) -> None:
    store.append("seats-1", reserved(10))
    assert seats(store.read("seats-1")) == list(range(1, 11))
    assert seats(store.read("seats-1", after=3, to=6)) == [4, 5, 6]
    assert seats(store.read("seats-1", after=3, to=6, backwards=True)) == [6, 5, 4]
    assert seats(store.read("seats-1", limit=2)) == [1, 2]
    assert seats(store.read("seats-1", limit=2, backwards=True)) == [10, 9]
    assert seats(store.read("seats-1", after=6, to=3)) == []
    assert seats(store.read("seats-1", limit=0)) == []
    assert seats(store.read("seats-2")) == []


def test_the_log_reads_in_ranges_and_both_directions(store: EventStore) -> None:
    for seat in range(1, 7):
        store.append(f"seats-{seat % 2}", [Reserved(seat)])
    assert seats(store.read_all()) == [1, 2, 3, 4, 5, 6]
    assert seats(store.read_all(after=2, to=4)) == [3, 4]
    assert seats(store.read_all(after=2, backwards=True, limit=3)) == [6, 5, 4]
    assert seats(store.read_all(Query(QueryItem(categories=["seats"], tags=["seat:3"])))) == [3]


@pytest.mark.parametrize("name", ["after", "to", "limit"])
@pytest.mark.parametrize("value", [-1, 1.5, "1", True])
def test_a_bound_that_cannot_be_meant_is_refused_at_once(store: EventStore, name: str, value: Any) -> None:
    bound: dict[str, Any] = {name: value}
    reads: list[Callable[[], object]] = [lambda: store.read("seats-1", **bound), lambda: store.read_all(**bound)]
    for read in reads:
        with pytest.raises(InvalidQuery, match=name):
            read()


@pytest.mark.parametrize("bound", [2**62, 2**63, 2**64, 2**200])
def test_a_bound_of_any_size_is_fine(store: EventStore, bound: int) -> None:
    store.append("seats-1", reserved(3))
    assert seats(store.read("seats-1", to=bound, limit=bound)) == [1, 2, 3]
    assert seats(store.read("seats-1", after=bound)) == []
    assert seats(store.read_all(to=bound, limit=bound)) == [1, 2, 3]
    assert seats(store.read_all(Query(QueryItem(tags=["seat:1"])), to=bound, limit=bound)) == [1]
    assert seats(store.read_all(after=bound)) == []
    assert seats(store.correlated("c", after=bound)) == []
    assert [info.stream for info in store.streams(limit=bound)] == ["seats-1"]


def test_a_reading_may_be_gone_through_again(store: EventStore) -> None:
    store.append("seats-1", reserved(3))
    for reading in (store.read("seats-1"), store.read_all(Query(QueryItem(types=[Reserved])))):
        assert seats(reading) == [1, 2, 3]
        first, *_ = reading
        assert seats(reading) == [1, 2, 3]
        assert first.event == Reserved(1)


def test_a_reading_ends_at_the_head_at_its_start(store: EventStore) -> None:
    store.append("seats-1", reserved(3))
    readings = [store.read("seats-1"), store.read_all(), store.read_all(Query(QueryItem(types=[Reserved])))]
    store.append("seats-1", [Reserved(4)])
    for reading in readings:
        assert reading.head == 3
        assert seats(reading) == [1, 2, 3]
        assert seats(reading) == [1, 2, 3]
    assert seats(store.read("seats-1", to=4)) == [1, 2, 3, 4]


def test_a_reading_is_decoded_as_it_is_gone_through(store: EventStore) -> None:
    """What cannot be decoded far behind does not hinder the beginning."""
    store.append("seats-1", reserved(2_500))
    store.append("seats-1", [RawEvent("seat-gone", {})])
    reading = iter(store.read("seats-1"))
    assert seats(next(reading) for _ in range(2_000)) == list(range(1, 2_001))
    with pytest.raises(SachoError, match="seat-gone"):
        list(reading)


def test_a_reading_comes_in_pages_on_request(store: EventStore) -> None:
    store.append("seats-1", reserved(4_500))
    pages = list(store.read("seats-1").pages())
    assert [seat for page in pages for seat in seats(page)] == list(range(1, 4_501))
    assert max(map(len, pages)) <= 2_000


def test_the_events_of_several_streams_and_categories_are_listed(store: EventStore) -> None:
    for name in ("seats-2", "orders-1", "seats-1", "seats-2", "bare"):
        store.append(name, [Reserved(1)])
    listed = [(info.stream, info.version, info.position) for info in store.streams()]
    assert listed == [("bare", 1, 5), ("orders-1", 1, 2), ("seats-1", 1, 3), ("seats-2", 2, 4)]
    assert [info.stream for info in store.streams("seats")] == ["seats-1", "seats-2"]
    assert [info.stream for info in store.streams("seats", after="seats-1")] == ["seats-2"]
    assert [info.stream for info in store.streams(after="bare", limit=2)] == ["orders-1", "seats-1"]
    assert [(info.category, info.position) for info in store.categories()] == [("bare", 5), ("orders", 2), ("seats", 4)]
    (last,) = store.read("seats-2", after=1)
    assert [info.recorded_at for info in store.streams("seats")][1] == last.recorded_at
    assert last.recorded_at.tzinfo is UTC


def test_what_cannot_be_meant_in_a_listing_is_refused_at_once(store: EventStore) -> None:
    with pytest.raises(InvalidQuery):
        store.streams(limit=-1)


def test_the_position_at_a_time_is_the_last_recorded_until_then(store: EventStore) -> None:
    assert store.position_at(datetime.now(UTC)) == 0
    store.append("seats-1", reserved(3))
    (last,) = store.read("seats-1", after=2)
    assert store.position_at(last.recorded_at) == 3
    assert store.position_at(last.recorded_at - timedelta(days=1)) == 0
    assert store.position_at(last.recorded_at + timedelta(days=1)) == 3
    assert store.position_at(last.recorded_at.astimezone(timezone(timedelta(hours=9)))) == 3


def test_a_time_without_a_zone_is_refused(store: EventStore) -> None:
    with pytest.raises(InvalidQuery, match="time zone"):
        store.position_at(datetime(2024, 1, 1))


@pytest.mark.parametrize("query", [QueryItem(), None, 5, "seat-reserved"])
def test_only_queries_are_asked(store: EventStore, query: Any) -> None:
    with pytest.raises(InvalidQuery):
        store.read_all(query)
    with pytest.raises(InvalidQuery):
        store.subscribe(query)


def test_an_engine_that_lacks_what_is_required_is_refused(url: str) -> None:
    with sacho.connect(url, require={"conditions", "one-order"}) as store:
        assert {"conditions", "one-order"} <= store.capabilities
        store.require("conditions")
        with pytest.raises(UnsupportedOperation) as caught:
            store.require({"conditions", "telepathy"})
    assert caught.value.capability == "telepathy"
    assert caught.value.engine in url
    with pytest.raises(UnsupportedOperation):
        sacho.connect(url, require={"telepathy"})


def test_a_log_has_an_identity(store: EventStore) -> None:
    assert store.identity.epoch == 1
    with sacho.connect("memory://") as other:
        assert other.identity.id != store.identity.id


def test_a_log_in_a_file_keeps_everything_over_reopening(tmp_path: Any) -> None:
    class Kept(Event, register=False, tags=("k:{number}",)):
        number: int

    url = f"sqlite:///{tmp_path}/kept.db"
    with sacho.connect(url, registry=Registry(Kept)) as store:
        store.append("a-1", [Kept(1), Kept(2)])
        identity, before = store.identity, list(store.read_all())
    with sacho.connect(url, registry=Registry(Kept)) as store:
        assert store.identity == identity
        assert list(store.read_all()) == before
        assert store.append("a-1", [Kept(3)], expected=2).version == 3


def uses(store: EventStore) -> list[Callable[[], object]]:
    return [
        lambda: store.append("a-1", [Released(1)]),
        lambda: store.append_many([sacho.Append("a-1", [Released(1)])]),
        lambda: store.submit("a-1", [Released(1)]),
        lambda: list(store.read("a-1")),
        lambda: list(store.read_all()),
        lambda: list(store.correlated("c")),
        lambda: store.find(uuid7()),
        lambda: store.version("a-1"),
        lambda: list(store.streams()),
        lambda: store.position_at(datetime.now(UTC)),
        store.head,
        store.categories,
        store.subscribe,
    ]


def test_a_closed_store_says_so_whatever_is_asked(store: EventStore) -> None:
    store.append("a-1", [Reserved(1)])
    reading = store.read("a-1")
    store.close()
    store.close()
    for use in uses(store):
        with pytest.raises(StoreClosed):
            use()
    with pytest.raises(StoreClosed):
        events(reading)


def test_bad_input_is_named_before_a_closed_store(store: EventStore) -> None:
    store.close()
    with pytest.raises(InvalidName):
        store.append("", [Reserved(1)])

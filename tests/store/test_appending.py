"""Appending through the store: what it returns, what it refuses, and that a refusal leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

import sacho
from sacho import ANY, EXISTS, NO_STREAM, Append, AppendCondition, EventData, EventStore, Query, QueryItem, uuid7
from sacho.errors import (
    AppendConditionFailed,
    DuplicateEventId,
    InvalidAppend,
    SachoError,
    UnregisteredEvent,
    WrongExpectedVersion,
)
from sacho.events import Appended
from tests.store.seats import Released, Reserved, events, reserved, seats


def test_an_append_tells_version_and_position(store: EventStore) -> None:
    assert store.append("seats-1", reserved(3), expected=NO_STREAM) == Appended(3, 3)
    assert store.append("seats-1", [Released(2)], expected=3) == Appended(4, 4)
    assert store.version("seats-1") == 4
    assert store.version("seats-2") == 0


def test_expected_is_any_unless_it_is_given(store: EventStore) -> None:
    store.append("seats-1", [Reserved(1)])
    assert store.append("seats-1", [Reserved(2)]).version == 2


def test_every_kind_of_expected_version_is_held(store: EventStore) -> None:
    with pytest.raises(WrongExpectedVersion):
        store.append("seats-1", [Reserved(1)], expected=EXISTS)
    store.append("seats-1", [Reserved(1)], expected=NO_STREAM)
    for expected in (NO_STREAM, 2, 7):
        with pytest.raises(WrongExpectedVersion) as caught:
            store.append("seats-1", [Reserved(2)], expected=expected)
        assert (caught.value.stream, caught.value.expected, caught.value.actual) == ("seats-1", expected, 1)
    assert store.append("seats-1", [Reserved(2)], expected=EXISTS).version == 2
    assert store.append("seats-1", [Reserved(3)], expected=2).version == 3
    assert store.append("seats-1", [Reserved(4)], expected=ANY).version == 4


def test_events_may_come_from_any_iterable(store: EventStore) -> None:
    assert store.append("seats-1", (Reserved(seat) for seat in (1, 2))).version == 2
    assert seats(store.read("seats-1")) == [1, 2]


@pytest.mark.parametrize(
    "given", [[], (), iter(()), None, 5, "text", b"bytes", {}, Reserved(1), EventData(Reserved(1))]
)
def test_what_is_no_list_of_events_or_an_empty_one_is_refused(store: EventStore, given: Any) -> None:
    with pytest.raises(InvalidAppend):
        store.append("seats-1", given)
    assert store.head() == 0


def test_an_error_while_events_are_made_leaves_nothing(store: EventStore) -> None:
    def failing() -> Iterator[Reserved]:
        yield Reserved(1)
        raise RuntimeError("made no more")

    with pytest.raises(RuntimeError, match="no more"):
        store.append("seats-1", failing())
    assert store.head() == 0


def test_one_bad_event_among_good_ones_leaves_nothing(store: EventStore) -> None:
    with pytest.raises(UnregisteredEvent):
        store.append("seats-1", [Reserved(1), object(), Reserved(2)])
    with pytest.raises(SachoError):
        store.append("seats-1", [Reserved(1), Reserved(2, "\n")])
    assert store.head() == 0
    assert events(store.read("seats-1")) == []


def test_several_streams_are_written_together_or_not_at_all(store: EventStore) -> None:
    done = store.append_many(
        [Append("seats-1", reserved(2), NO_STREAM), Append(None, [Released(9)]), Append("seats-2", [Reserved(3)])]
    )
    assert done == [Appended(2, 2), Appended(None, 3), Appended(1, 4)]
    with pytest.raises(WrongExpectedVersion):
        store.append_many([Append("seats-3", [Reserved(1)]), Append("seats-2", [Reserved(1)], 5)])
    with pytest.raises(UnregisteredEvent):
        store.append_many([Append("seats-3", [Reserved(1)]), Append("seats-2", [object()])])
    assert store.head() == 4


@pytest.mark.parametrize("given", [[], [Append("seats-1", [])], [("seats-1", [Reserved(1)])], [None], 5, None])
def test_appends_that_cannot_be_meant_are_refused(store: EventStore, given: Any) -> None:
    with pytest.raises(InvalidAppend):
        store.append_many(given)
    assert store.head() == 0


def test_events_without_a_stream_take_no_expected_version(store: EventStore) -> None:
    assert store.append(None, [Reserved(1)]) == Appended(None, 1)
    for expected in (NO_STREAM, EXISTS, 1):
        with pytest.raises(InvalidAppend, match="condition"):
            store.append(None, [Reserved(1)], expected=expected)
    assert store.head() == 1


@pytest.mark.parametrize("condition", [Query(), QueryItem(), 5, "text"])
def test_a_condition_is_an_append_condition(store: EventStore, condition: Any) -> None:
    with pytest.raises(InvalidAppend):
        store.append("seats-1", [Reserved(1)], condition=condition)
    with pytest.raises(InvalidAppend):
        store.append_many([Append("seats-1", [Reserved(1)])], condition=condition)
    assert store.head() == 0


def test_a_submitted_append_brings_its_result_or_error(store: EventStore) -> None:
    assert store.submit("seats-1", [Reserved(1)], expected=0).result(20) == [Appended(1, 1)]
    assert isinstance(store.submit("seats-1", [Reserved(1)], expected=0).exception(20), WrongExpectedVersion)
    with pytest.raises(InvalidAppend):
        store.submit("seats-1", [])


# --- ids ----------------------------------------------------------------------------------------------


def test_the_same_ids_with_the_same_content_return_the_first_result(store: EventStore) -> None:
    given = [EventData(Reserved(seat), id=uuid7()) for seat in (1, 2)]
    first = store.append("seats-1", given, expected=NO_STREAM)
    store.append("seats-1", [Released(1)])
    assert store.append("seats-1", given, expected=NO_STREAM) == first
    assert store.head() == 3


def test_the_same_id_with_other_content_is_refused(store: EventStore) -> None:
    id = uuid7()
    store.append("seats-1", [EventData(Reserved(1), id=id)])
    for stream, event in (("seats-1", Reserved(2)), ("seats-1", Released(1)), ("seats-2", Reserved(1))):
        with pytest.raises(DuplicateEventId) as caught:
            store.append(stream, [EventData(event, id=id)])
        assert caught.value.ids == (id,)
    with pytest.raises(DuplicateEventId):
        store.append("seats-1", [EventData(Reserved(1), id=id, tags=("more:1",))])
    assert store.head() == 1


def test_an_event_is_found_by_its_id(store: EventStore) -> None:
    ids = [uuid7() for _ in range(3)]
    store.append("seats-1", [EventData(Reserved(seat), id=id) for seat, id in enumerate(ids)])
    found = store.find(ids[1])
    assert found is not None
    assert (found.id, found.event, found.version) == (ids[1], Reserved(1), 2)
    assert store.find(uuid7()) is None
    with pytest.raises(SachoError):
        store.find(str(ids[0]))  # type: ignore[arg-type]


def test_any_uuid_is_an_id(store: EventStore) -> None:
    for number, id in enumerate([UUID(int=0), UUID(int=2**128 - 1), UUID(int=5)], 1):
        assert store.append("seats-1", [EventData(Reserved(1), id=id)]).version == number
        found = store.find(id)
        assert found is not None
        assert found.id == id


# --- the dynamic consistency boundary -----------------------------------------------------------------

SEAT_ONE = Query(QueryItem(types=[Reserved, Released], tags=["seat:1"]))


def is_taken(found: list[Any]) -> bool:
    return bool(found) and isinstance(found[-1], Reserved)


def test_a_decision_holds_if_nothing_it_was_made_on_has_changed(store: EventStore) -> None:
    found = store.read_all(SEAT_ONE)
    assert not is_taken(events(found))
    store.append(None, [Reserved(2)])
    done = store.append(None, [Reserved(1)], condition=AppendCondition(SEAT_ONE, after=found.head))
    assert done.position == store.head()


def test_a_decision_fails_if_something_it_was_made_on_has_changed(store: EventStore) -> None:
    found = store.read_all(SEAT_ONE)
    taken = store.append(None, [Reserved(1, "Ann")])
    with pytest.raises(AppendConditionFailed) as caught:
        store.append(None, [Reserved(1, "Bob")], condition=AppendCondition(SEAT_ONE, after=found.head))
    assert (caught.value.after, caught.value.position) == (found.head, taken.position)
    again = store.read_all(SEAT_ONE)
    assert is_taken(events(again))
    store.append(None, [Released(1)], condition=AppendCondition(SEAT_ONE, after=again.head))


def test_the_head_taken_before_reading_serves_a_condition_too(store: EventStore) -> None:
    store.append(None, [Reserved(1)])
    head = store.head()
    store.append(None, [Released(1)])
    with pytest.raises(AppendConditionFailed):
        store.append(None, [Reserved(1)], condition=AppendCondition(SEAT_ONE, after=head))


def test_the_head_of_a_read_that_was_cut_short_does_not_reach_beyond_it(store: EventStore) -> None:
    """An event that the reader was not shown, since it asked only up to a position, still fails the condition."""
    store.append(None, [Reserved(2)])
    store.append(None, [Reserved(1)])
    found = store.read_all(SEAT_ONE, to=1)
    assert events(found) == []
    with pytest.raises(AppendConditionFailed):
        store.append(None, [Reserved(1)], condition=AppendCondition(SEAT_ONE, after=found.head))


def test_a_condition_stands_over_several_streams(store: EventStore) -> None:
    found = store.read_all(SEAT_ONE)
    appends = [Append("a-1", [Reserved(1)]), Append("b-1", [Reserved(2)])]
    store.append_many(appends, condition=AppendCondition(SEAT_ONE, after=found.head))
    with pytest.raises(AppendConditionFailed):
        store.append_many(appends, condition=AppendCondition(SEAT_ONE, after=found.head))
    assert store.head() == 2


# --- metadata -----------------------------------------------------------------------------------------


def metadata_of(store: EventStore, stream: str) -> Any:
    (recorded,) = store.read(stream)
    return recorded.metadata


def test_a_block_puts_its_metadata_on_what_is_recorded_in_it(store: EventStore) -> None:
    with sacho.metadata(actor="Ann", correlation_id="c-1", more={"channel": "web"}):
        store.append("a-1", [Reserved(1)])
    store.append("b-1", [Reserved(1)])
    assert metadata_of(store, "a-1") == {"actor": "Ann", "correlation_id": "c-1", "channel": "web"}
    assert metadata_of(store, "b-1") == {}


def test_blocks_nest_and_the_inner_one_wins(store: EventStore) -> None:
    with sacho.metadata(actor="Ann", more={"a": 1, "b": 1}), sacho.metadata(actor="Bob", more={"b": 2}):
        store.append("a-1", [Reserved(1)])
    assert metadata_of(store, "a-1") == {"actor": "Bob", "a": 1, "b": 2}


def test_an_envelopes_metadata_goes_above_the_blocks(store: EventStore) -> None:
    with sacho.metadata(actor="Ann", correlation_id="c-1"):
        store.append("a-1", [EventData(Reserved(1), metadata={"actor": "Bob", "note": [1]})])
    assert metadata_of(store, "a-1") == {"actor": "Bob", "correlation_id": "c-1", "note": [1]}


def test_a_block_that_raises_leaves_its_metadata_behind(store: EventStore) -> None:
    with pytest.raises(RuntimeError), sacho.metadata(actor="Ann"):
        raise RuntimeError
    store.append("a-1", [Reserved(1)])
    assert metadata_of(store, "a-1") == {}


def test_what_is_caused_by_an_event_says_so_and_shares_its_correlation(store: EventStore) -> None:
    store.append("a-1", [Reserved(1)])
    (cause,) = store.read("a-1")
    with sacho.caused_by(cause):
        store.append("b-1", [Reserved(2)])
    (effect,) = store.read("b-1")
    assert effect.metadata == {"causation_id": str(cause.id), "correlation_id": str(cause.id)}
    with sacho.caused_by(effect):
        store.append("c-1", [Reserved(3)])
    assert metadata_of(store, "c-1") == {"causation_id": str(effect.id), "correlation_id": str(cause.id)}


def test_events_of_a_correlation_id_are_found(store: EventStore) -> None:
    id = uuid7()
    for number in range(6):
        with sacho.metadata(correlation_id=id if number % 2 else "other"):
            store.append(f"a-{number}", [Reserved(number)])
    assert seats(store.correlated(id)) == [1, 3, 5]
    assert seats(store.correlated(str(id))) == [1, 3, 5]
    assert seats(store.correlated(id, after=4)) == [5]
    assert seats(store.correlated("other")) == [0, 2, 4]
    assert seats(store.correlated("nobody")) == []
    assert store.correlated(id).head == 6


def test_the_ids_of_one_append_follow_on_each_other(store: EventStore) -> None:
    """They are UUIDv7s of their own, in order, and also greater than those of the append before."""
    store.append("seats-1", [Reserved(seat) for seat in range(100)])
    store.append("seats-1", [Reserved(seat) for seat in range(100)])
    ids = [recorded.id for recorded in store.read("seats-1")]
    assert {id.version for id in ids} == {7}
    assert len(set(ids)) == 200
    assert ids[:100] == sorted(ids[:100])
    assert ids[100:] == sorted(ids[100:])
    assert ids[99] < ids[100]

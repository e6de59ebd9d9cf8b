"""Relays: what becomes of events on their way out, in which order, and of what cannot leave."""

from __future__ import annotations

from threading import Event as Signal
from typing import Any
from uuid import UUID, uuid4

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

import sacho
from sacho import EventData, RawEvent
from sacho.errors import InvalidConsumer, KeyParked, MessageRefused, TargetFailed, TargetUnreachable
from sacho.reacting import Application, Context, Message, PublicEvent, Relay, handles, publishes
from tests.reacting.conftest import Place
from tests.reacting.domain import PATIENCE, until
from tests.reacting.messaging.domain import (
    AT_ONCE,
    SOURCE,
    Confirmed,
    ConfirmedAgain,
    Noted,
    Outside,
    Paid,
    Placed,
    Shelf,
    Told,
    note,
)


def parked(app: Application) -> dict[int, str | None]:
    return {one.position: one.error for one in app.administration.parked(Outside)}


# --- what leaves -----------------------------------------------------------------------------------------


def test_several_events_become_one_message_and_one_event_several(place: Place) -> None:
    shelf = Shelf()
    place.store.append("orders-1", [Placed("1", 3), Paid("1")])
    place.store.append("orders-2", [Paid("2")])
    place.run(Outside(shelf))
    first, second = shelf.messages
    assert isinstance(first.event, Confirmed)
    assert (first.event.order_id, first.event.seats, str(first.event.total)) == ("1", 3, "30.00")
    assert isinstance(second.event, ConfirmedAgain)


def test_what_a_method_does_not_tell_stays_inside(place: Place) -> None:
    shelf = Shelf()
    note(place.store, 1, -1, 2)
    place.run(Outside(shelf))
    assert shelf.by_key == {"1": [1, 2]}


def test_a_message_is_the_same_when_it_is_made_again_later(place: Place) -> None:
    before, after = Shelf(), Shelf()
    place.store.append("orders-1", [Placed("1", 3), Paid("1")])
    recorded = list(place.store.read("orders-1"))[1]
    place.run(Outside(before))
    place.store.append("orders-1", [Placed("1", 9), Paid("1")])
    again = Outside(after).messages(recorded, place.store)
    assert [one.structured() for one in again] == [one.structured() for one in before.messages]
    assert len({one.id for one in again}) == 2


def test_history_is_the_stream_up_to_the_event_and_of_an_event_without_stream_itself(place: Place) -> None:
    seen: list[list[object]] = []

    class Looks(Relay):
        source = SOURCE

        @publishes(Noted)
        def noted(self, event: Noted, context: Context) -> None:
            seen.append([one.event for one in context.history()])

    note(place.store, 1, 2)
    place.store.append(None, [EventData(Noted("x", 3), tags=["order:x"])])
    place.run(Looks(Shelf()))
    assert seen == [[Noted("1", 1)], [Noted("1", 1), Noted("1", 2)], [Noted("x", 3)]]


def test_the_library_of_cloudevents_reads_a_message(place: Place) -> None:
    shelf = Shelf()
    with sacho.metadata(correlation_id="c-1"):
        place.store.append("orders-1", [Placed("1", 3), Paid("1")])
    place.run(Outside(shelf))
    recorded = list(place.store.read("orders-1"))[1]
    first, second = (
        from_http(
            HTTPMessage({"content-type": "application/cloudevents+json"}, one.structured()), JSONFormat(), CloudEvent
        )
        for one in shelf.messages
    )
    assert first.get_attributes() == {
        "specversion": "1.0",
        "id": str(Outside(shelf).delivery(recorded).message_id),
        "source": SOURCE,
        "type": "conference.order-confirmed",
        "subject": "1",
        "partitionkey": "1",
        "time": recorded.recorded_at,
        "datacontenttype": "application/json",
        "sequence": f"{recorded.position:019d}",
        "causationid": str(recorded.id),
        "correlationid": "c-1",
    }
    assert first.get_data() == {"order_id": "1", "seats": 3, "total": "30.00"}
    assert second.get_type() == "conference.order-confirmed.v2"
    assert second.get_extension("sequence") > first.get_extension("sequence")


def test_ids_are_derived_from_event_relay_and_place(place: Place) -> None:
    class Other(Outside):
        name = "other"

    shelf, other = Shelf(), Shelf()
    place.store.append("orders-1", [Placed("1", 3), Paid("1")])
    place.run(Outside(shelf), Other(other))
    ids = [one.id for one in [*shelf.messages, *other.messages]]
    assert len(set(ids)) == 4
    assert all(UUID(one).version == 7 for one in ids)


def test_keys_keep_their_order_whoever_shares_the_partitions(place: Place) -> None:
    shelf = Shelf()
    for number in range(60):
        note(place.store, number, order=str(number % 7))
    with place.running(Outside(shelf)), place.running(Outside(shelf)) as app:
        for number in range(60, 120):
            note(place.store, number, order=str(number % 7))
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
    firsts: dict[str, list[int]] = {}
    ids = set()
    for message in shelf.messages:
        if message.id not in ids:
            ids.add(message.id)
            firsts.setdefault(message.key, []).append(message.event.number)  # type: ignore[attr-defined]
    assert firsts == {str(key): list(range(key, 120, 7)) for key in range(7)}


def test_without_a_key_the_order_is_that_of_the_stream(place: Place) -> None:
    class Plain(Relay):
        source = SOURCE

        @publishes(Noted)
        def noted(self, event: Noted, context: Any) -> PublicEvent:
            return Told(event.number)

    shelf = Shelf()
    note(place.store, 1)
    place.run(Plain(shelf))
    assert [one.key for one in shelf.messages] == ["orders-1"]


# --- what fails ------------------------------------------------------------------------------------------


def test_a_message_that_fails_is_sent_again_and_then_parked_with_its_key_only(place: Place) -> None:
    shelf = Shelf(lambda one: TargetFailed("shelf", "no") if one.key == "bad" else None)
    position = note(place.store, 1, order="bad")
    for number in range(2, 40):
        note(place.store, number, order="bad" if number % 10 == 0 else f"good-{number % 5}")
    with place.running(Outside(shelf)) as app:
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
        assert parked(app)[position] == "TargetFailed: shelf did not take the message: no"
        assert len(parked(app)) == 4
        assert shelf.by_key == {
            f"good-{key}": [one for one in range(2, 40) if one % 10 and one % 5 == key] for key in range(5)
        }
        assert shelf.tries == len(shelf.messages) + AT_ONCE.attempts
        shelf.fails = lambda one: None
        app.administration.retry(Outside)
        until(lambda: not parked(app))
    assert shelf.by_key["bad"] == [1, 10, 20, 30]


def test_a_message_that_is_refused_for_good_is_parked_at_once(place: Place) -> None:
    shelf = Shelf(lambda one: MessageRefused("shelf", "never") if one.key == "bad" else None)
    note(place.store, 1, order="bad")
    note(place.store, 2, order="good")
    with place.running(Outside(shelf)) as app:
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
        (row,) = app.administration.parked(Outside)
    assert (row.key, row.attempts, shelf.tries) == ("bad", 1, 2)


def test_what_was_sent_behind_one_that_failed_is_not_sent_again(place: Place) -> None:
    shelf = Shelf(lambda one: TargetFailed("shelf", "no") if one.key == "bad" else None)
    note(place.store, 0, order="good")
    for number in range(1, 31):
        note(place.store, number, order="bad" if number == 1 else f"good-{number}")
    place.run(Outside(shelf))
    assert len(shelf.messages) == 30
    assert len({one.id for one in shelf.messages}) == 30


def test_a_target_that_does_not_answer_is_waited_for_and_nothing_is_parked(place: Place) -> None:
    is_down, shelf = Signal(), Shelf()
    is_down.set()
    shelf.fails = lambda one: TargetUnreachable("shelf", "away") if is_down.is_set() else None
    with place.running(Outside(shelf)) as app:
        for number in range(20):
            note(place.store, number, order=str(number % 3))
        until(lambda: shelf.tries > 2 * AT_ONCE.attempts)
        assert (shelf.messages, parked(app)) == ([], {})
        is_down.clear()
        assert app.wait_for(Outside, place.store.head(), PATIENCE)
    assert shelf.by_key == {str(key): list(range(key, 20, 3)) for key in range(3)}


def test_a_target_that_asks_for_time_is_given_it(place: Place) -> None:
    from time import monotonic

    tried: list[float] = []

    def fails(message: Message) -> BaseException | None:
        tried.append(monotonic())
        return TargetFailed("shelf", "busy", retry_after=0.4) if len(tried) == 1 else None

    note(place.store, 1)
    place.run(Outside(Shelf(fails)))
    assert tried[1] - tried[0] >= 0.4


def test_a_target_that_raises_or_answers_for_too_few_fails_the_messages(place: Place) -> None:
    class Raises(Shelf):
        def send(self, messages: Any) -> Any:
            raise OSError("broken")

    class Forgets(Shelf):
        def send(self, messages: Any) -> Any:
            return []

    note(place.store, 1)
    for target, reason in ((Raises(), "OSError: broken"), (Forgets(), "returned 0 outcomes for 1 messages")):
        with place.running(Outside(target)) as app:
            with pytest.raises(KeyParked, match=reason):
                app.wait_for(Outside, place.store.head(), PATIENCE)
            app.administration.drop(Outside, place.store.head())
            until(lambda: not parked(app))
        note(place.store, 1)


def test_an_event_of_which_no_message_can_be_made_parks_its_key_only(place: Place) -> None:
    class Picky(Outside):
        name = "picky"

        @publishes(Noted, key="order_id")
        def noted(self, event: Noted, context: Any) -> PublicEvent:
            if event.number == 13:
                raise ValueError("thirteen")
            return Told(event.number)

    shelf = Shelf()
    for number in range(10, 20):
        note(place.store, number, order=str(number % 2))
    with place.running(Picky(shelf)) as app:
        app.wait_for(Picky, place.store.head() - 1, PATIENCE)
        until(lambda: len(app.administration.parked(Picky)) == 4)
    assert shelf.by_key == {"0": [10, 12, 14, 16, 18], "1": [11]}


def test_an_event_that_does_not_fit_its_class_parks_the_key_that_its_data_name(place: Place) -> None:
    class ByField(Relay):
        name = "by-field"
        source = SOURCE
        retry = AT_ONCE

        @publishes(Noted, key="order_id")
        def noted(self, event: Noted, context: Any) -> PublicEvent:
            return Told(event.number)

    shelf = Shelf()
    place.store.append("orders-1", [EventData(RawEvent("MessagingNoted", {"order_id": "1", "number": "x"}), uuid4())])
    note(place.store, 2, order="2")
    with place.running(ByField(shelf)) as app:
        assert app.wait_for(ByField, place.store.head(), PATIENCE)
        assert [one.key for one in app.administration.parked(ByField)] == ["1"]
    assert shelf.by_key == {"2": [2]}


# --- declaring -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["", None, "with space", "ä", 7])
def test_a_relay_without_a_source_that_is_a_uri_is_refused(source: Any) -> None:
    with pytest.raises(InvalidConsumer, match="source"):
        type("Some", (Relay,), {"source": source, "noted": publishes(Noted)(lambda self, event, context: None)})


def test_a_relay_is_marked_by_publishes_only() -> None:
    with pytest.raises(InvalidConsumer, match="@publishes"):
        type("Some", (Relay,), {"source": SOURCE, "noted": handles(Noted)(lambda self, event, context: None)})


def test_a_method_of_a_relay_is_not_async() -> None:
    async def noted(self: Any, event: Noted, context: Context) -> None: ...

    with pytest.raises(InvalidConsumer, match="noted is async"):
        type("Some", (Relay,), {"source": SOURCE, "noted": publishes(Noted)(noted)})


def test_what_json_cannot_carry_is_parked_at_once(place: Place) -> None:
    class Wrong(Relay):
        name = "wrong"
        source = SOURCE

        @publishes(Noted, key="order_id")
        def noted(self, event: Noted, context: Context) -> PublicEvent:
            return Told(event.number, "\ud800" if event.order_id == "bad" else "")

    shelf = Shelf()
    note(place.store, 1, order="bad")
    note(place.store, 2, order="good")
    with place.running(Wrong(shelf)) as app:
        assert app.wait_for(Wrong, place.store.head(), PATIENCE)
        (row,) = app.administration.parked(Wrong)
    assert (row.key, row.attempts, (row.error or "")[:18]) == ("bad", 1, "UnpublishableEvent")
    assert shelf.by_key == {"good": [2]}


def test_publishes_names_events() -> None:
    for types in ((), (dict,)):
        with pytest.raises(InvalidConsumer, match="@publishes"):
            publishes(*types)(lambda self, event, context: None)


def test_a_relay_has_independent_keys_and_partitions() -> None:
    assert (Outside.independent_keys, Outside.partitions) == (True, 8)

"""Messages into another log: once each, in order of their keys, as events that readers declare."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

import sacho
from sacho import Event, EventStore
from sacho.errors import InvalidName, MessageRefused, MessageTooLarge, StorageBusy, TargetUnreachable
from sacho.reacting import LogTarget, Relay, publishes
from sacho.schema import Registry
from tests.reacting.conftest import Place
from tests.reacting.domain import PATIENCE
from tests.reacting.messaging.domain import SOURCE, Noted, Outside, Paid, Placed, Shelf, Told, note


class Heard(Event, type="conference.order-confirmed", register=False):
    """How a reader of the other log declares it."""

    order_id: str
    seats: int
    total: Decimal


def numbers(store: EventStore) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in store.read_all(raw=True):
        assert one.stream is not None
        found.setdefault(one.stream, []).append(one.event.data["number"])
    return found


def test_messages_are_events_of_a_stream_for_each_key(place: Place) -> None:
    with sacho.connect("memory://") as other:
        for number in range(100):
            note(place.store, number, order=str(number % 7))
        place.run(Outside(LogTarget(other, category="booking")))
        assert numbers(other) == {f"booking-{key}": list(range(key, 100, 7)) for key in range(7)}


def test_a_reader_declares_the_type_and_version_and_finds_where_it_comes_from(place: Place) -> None:
    with sacho.metadata(correlation_id="c-1"):
        place.store.append("orders-1", [Placed("1", 3), Paid("1")])
    cause = list(place.store.read("orders-1"))[1]
    with sacho.connect("memory://", registry=Registry(Heard)) as other:
        place.run(Outside(LogTarget(other, category="booking")))
        first, second = other.read("booking-1", raw=True)
        (heard,) = other.read("booking-1", to=1)
    assert heard.event == Heard("1", 3, Decimal("30.00"))
    assert (second.type, second.schema_version) == ("conference.order-confirmed", 2)
    assert first.id == Outside(Shelf()).delivery(cause).message_id
    assert first.metadata == {
        "source": SOURCE,
        "sequence": f"{cause.position:019d}",
        "causation_id": str(cause.id),
        "correlation_id": "c-1",
    }


def test_what_comes_again_is_there_once_whatever_it_is_by_then(place: Place) -> None:
    note(place.store, 1, 2)
    shelf = Shelf()
    place.run(Outside(shelf))
    with sacho.connect("memory://") as other:
        target = LogTarget(other, category="booking")
        assert target.send(shelf.messages[:1]) == [None]
        assert target.send(shelf.messages) == [None, None]

        class Changed(Relay):
            name = "outside"
            source = SOURCE

            @publishes(Noted, key="order_id")
            def noted(self, event: Noted, context: object) -> Told:
                return Told(-event.number)

        again = [one for event in place.store.read("orders-1") for one in Changed(target).messages(event, place.store)]
        assert target.send(again) == [None, None]
        assert numbers(other) == {"booking-1": [1, 2]}


def test_a_message_over_the_other_logs_limit_parks_its_key_only(place: Place) -> None:
    with sacho.connect("memory://", max_event_bytes=1_000) as other:
        note(place.store, 1, order="large", text="x" * 2_000)
        note(place.store, 2, order="large")
        note(place.store, 3, order="small")
        with place.running(Outside(LogTarget(other, category="booking"))) as app:
            assert app.wait_for(Outside, place.store.head(), PATIENCE)
            row, behind = app.administration.parked(Outside)
        assert (row.attempts, (row.error or "").partition(":")[0], behind.error) == (1, MessageTooLarge.__name__, None)
        assert numbers(other) == {"booking-small": [3]}


def test_a_key_that_names_no_stream_is_refused(place: Place) -> None:
    note(place.store, 1)
    shelf = Shelf()
    place.run(Outside(shelf))
    with sacho.connect("memory://") as other, pytest.raises(InvalidName):
        LogTarget(other, category="with-dash")
    from msgspec.structs import replace

    with sacho.connect("memory://") as other:
        (outcome,) = LogTarget(other, category="booking").send([replace(shelf.messages[0], subject="a\x00b")])
    assert isinstance(outcome, MessageRefused)


def test_a_log_that_is_busy_is_waited_for(place: Place, tmp_path: Path) -> None:
    import sqlite3

    note(place.store, 1)
    shelf = Shelf()
    place.run(Outside(shelf))
    with sacho.connect(f"sqlite:///{tmp_path / 'other.db'}?timeout=0.05") as other:
        target = LogTarget(other, category="booking")
        with sqlite3.connect(tmp_path / "other.db", isolation_level=None) as holder:
            holder.execute("BEGIN IMMEDIATE")
            (outcome,) = target.send(shelf.messages)
            holder.execute("ROLLBACK")
        holder.close()
        assert isinstance(outcome, TargetUnreachable)
        assert isinstance(outcome.__cause__, StorageBusy)
        assert target.send(shelf.messages) == [None]
    assert UUID(shelf.messages[0].id)

"""Public events: what can be declared, and what can be written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import pytest

from sacho import RawEvent, RecordedEvent
from sacho.errors import InvalidPublicEvent, UnpublishableEvent
from sacho.reacting import PublicEvent, Relay, publishes
from tests.reacting.messaging.domain import SOURCE, Confirmed, ConfirmedAgain, Noted, Shelf, Told


class Anything(PublicEvent, type="test.anything"):
    value: Any


def declared(**options: Any) -> type[PublicEvent]:
    class Some(PublicEvent, **options):
        order_id: str

    return Some


def written(value: Any) -> str:
    class Some(Relay):
        source = SOURCE

        @publishes(Noted)
        def noted(self, event: Noted, context: Any) -> PublicEvent:
            return Anything(value)

    event = RecordedEvent(1, "orders-1", 1, "MessagingNoted", 1, Noted("1", 1), bytes(16), None, None, 0)
    (message,) = Some(Shelf()).messages(event, None)  # type: ignore[arg-type]
    return message.data


def test_a_public_event_is_a_frozen_struct_with_a_type_and_a_version() -> None:
    event = Confirmed("1", 2, Decimal("3.50"))
    assert (event.public_type, event.public_version, event.seats) == ("conference.order-confirmed", 1, 2)
    with pytest.raises(AttributeError):
        event.seats = 3  # type: ignore[misc]


def test_the_type_of_a_message_has_the_version_from_the_second_on() -> None:
    assert (Confirmed.message_type, ConfirmedAgain.message_type) == (
        "conference.order-confirmed",
        "conference.order-confirmed.v2",
    )


@pytest.mark.parametrize(
    "type", [None, "", 7, "with space", ".dot", "dot.", "two..dots", "ä", "a.v2", "a/b", "x" * 201]
)
def test_a_type_out_of_rules_is_refused_when_it_is_declared(type: Any) -> None:
    with pytest.raises(InvalidPublicEvent) as caught:
        declared(type=type)
    assert caught.value.event == "Some"


@pytest.mark.parametrize("version", [0, -1, True, "1", 1.0, None, 2**31])
def test_a_version_out_of_rules_is_refused_when_it_is_declared(version: Any) -> None:
    with pytest.raises(InvalidPublicEvent, match="version"):
        declared(type="test.some", version=version)


def test_a_public_event_cannot_be_made_mutable() -> None:
    with pytest.raises(InvalidPublicEvent, match="immutable"):
        declared(type="test.some", frozen=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("10.50"), '"10.50"'),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), '"2026-01-02T03:04:05Z"'),
        (date(2026, 1, 2), '"2026-01-02"'),
        ({"b", "a"}, '["a","b"]'),
        (Enum("Colour", {"RED": "red"}).RED, '"red"'),  # type: ignore[attr-defined]
        (None, "null"),
    ],
)
def test_values_are_written_by_the_rules_of_events(value: Any, text: str) -> None:
    assert written(value) == f'{{"value":{text}}}'


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], "\ud800", object(), {1: {"x": float("-inf")}}])
def test_what_json_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises(UnpublishableEvent, match=r"Some\.noted: test\.anything cannot be written as JSON"):
        written(value)


def test_a_receiver_reads_what_was_written() -> None:
    event = Confirmed("1", 2, Decimal("3.50"))
    assert msgspec.json.decode(msgspec.json.encode(event), type=Confirmed) == event


MADE: list[Callable[[], object]] = [
    lambda: 7,
    lambda: "text",
    lambda: {"a": 1},
    lambda: [Told(1), 7],
    lambda: RawEvent("x", 1),
]


@pytest.mark.parametrize("make", MADE)
def test_a_method_that_returns_something_else_is_told(make: Callable[[], object]) -> None:
    class Some(Relay):
        source = SOURCE

        @publishes(Noted)
        def noted(self, event: Noted, context: Any) -> object:
            return make()

    event = RecordedEvent(1, "orders-1", 1, "MessagingNoted", 1, Noted("1", 1), bytes(16), None, None, 0)
    with pytest.raises(UnpublishableEvent) as caught:
        Some(Shelf()).messages(event, None)  # type: ignore[arg-type]
    assert caught.value.method == "noted"

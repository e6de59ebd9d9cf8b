"""Every rule of orders and their prices, as given/when/then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from examples.conference.orders import (
    AssignRegistrant,
    CancelOrder,
    ConfirmOrder,
    Line,
    MarkAsReserved,
    NoItems,
    NotInThisPhase,
    Order,
    OrderCancelled,
    OrderConfirmed,
    OrderExpired,
    OrderPartiallyReserved,
    OrderPlaced,
    OrderRegistrantAssigned,
    OrderReinstated,
    OrderReservationCompleted,
    OrderTotalsCalculated,
    OrderUpdated,
    RegisterToConference,
    ReinstateOrder,
    RejectOrder,
    UnknownOrder,
    WrongAmount,
)
from examples.conference.rules import InvalidField
from examples.conference.seats import InvalidQuantity, UnknownSeatType
from sacho.testing import given_for

given = given_for(Order())

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=15)
PRICES = {"GA": Decimal("199.00"), "WS": Decimal("500.00"), "CP": Decimal("50.00"), "FREE": Decimal(0)}

PLACED = OrderPlaced("o1", "c1", {"GA": 1, "CP": 1}, LATER, "A1B2C3")
TOTALS = OrderTotalsCalculated(
    "o1",
    [
        Line("GA", 1, Decimal("199.00"), Decimal("199.00")),
        Line("CP", 1, Decimal("50.00"), Decimal("50.00")),
    ],
    Decimal("249.00"),
    is_free=False,
)
RESERVED = OrderReservationCompleted("o1", {"GA": 1, "CP": 1}, LATER)
CONFIRM = ConfirmOrder("o1", "p1", Decimal("249.00"))
CONFIRMED = OrderConfirmed("o1", "c1", {"GA": 1, "CP": 1}, Decimal("249.00"), "p1")
EXPIRED = OrderExpired("o1", "c1")
CANCELLED = OrderCancelled("o1", "c1", was_confirmed=False)


def register(prices: dict[str, Decimal] = PRICES, **seats: Any) -> RegisterToConference:
    return RegisterToConference("o1", "c1", seats, prices, "A1B2C3", NOW)


def totals_of(prices: dict[str, Decimal] = PRICES, **seats: int) -> OrderTotalsCalculated:
    [_, totals] = Order().decide(register(prices, **seats), Order.initial)
    assert isinstance(totals, OrderTotalsCalculated)
    return totals


# --- registering --------------------------------------------------------------------------------------


def test_an_order_is_placed_with_its_totals_and_expires_after_a_quarter_of_an_hour() -> None:
    given().when(register(GA=1, CP=1)).then(PLACED, TOTALS)


def test_the_example_of_three_seat_types_costs_what_its_lines_sum_up_to() -> None:
    assert totals_of(GA=3, WS=1, CP=2).total == Decimal("1197.00")


def test_types_of_which_none_are_wanted_are_no_part_of_the_order() -> None:
    given().when(register(GA=1, WS=0, CP=1)).then(PLACED, TOTALS)


@pytest.mark.parametrize("seats", [{}, {"GA": 0}, {"GA": 0, "WS": 0}])
def test_an_order_of_nothing_is_refused(seats: Any) -> None:
    given().when(register(**seats)).then_refused(NoItems, "One or more items are required")


@pytest.mark.parametrize("quantity", [-1, 21, 1.5, True, "2"])
def test_a_quantity_that_cannot_be_meant_is_refused(quantity: Any) -> None:
    refusal = given().when(register(GA=1, WS=quantity)).then_refused(InvalidQuantity)
    assert refusal.seat_type == "WS"


def test_twenty_of_a_type_are_the_most() -> None:
    assert totals_of(GA=20, WS=20).total == Decimal(13_980)


def test_a_seat_type_without_a_price_is_unknown() -> None:
    given().when(register(XX=1)).then_refused(UnknownSeatType, "'XX'")


def test_an_order_that_is_there_is_updated_and_keeps_its_time_and_access_code() -> None:
    again = msgspec.structs.replace(register(GA=2), access_code="OTHER1", placed_at=LATER)
    given(PLACED, TOTALS).when(again).then(OrderUpdated("o1", {"GA": 2}), totals_of(GA=2))
    given(PLACED, TOTALS, RESERVED).when(again).then(OrderUpdated("o1", {"GA": 2}), totals_of(GA=2))


@pytest.mark.parametrize("end", [CONFIRMED, EXPIRED, CANCELLED])
def test_an_order_that_is_over_is_not_changed(end: Any) -> None:
    given(PLACED, TOTALS, RESERVED, end).when(register(GA=2)).then_refused(NotInThisPhase)


def test_an_order_stays_with_its_conference() -> None:
    other = msgspec.structs.replace(register(GA=1), conference_id="c2")
    given(PLACED, TOTALS).when(other).then_refused(InvalidField)


# --- prices -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "quantity", "total"),
    [
        ("0.125", 1, "0.12"),
        ("0.375", 1, "0.38"),
        ("0.125", 3, "0.38"),
        ("0.10", 3, "0.30"),
        ("33.33", 3, "99.99"),
        ("50000", 20, "1000000.00"),
    ],
)
def test_a_line_is_price_times_quantity_with_a_half_cent_to_the_even_one(price: str, quantity: int, total: str) -> None:
    [line] = totals_of({"GA": Decimal(price)}, GA=quantity).lines
    assert str(line.total) == total


def test_an_order_of_free_seats_only_is_free_of_charge() -> None:
    assert totals_of(FREE=2).is_free
    assert not totals_of(FREE=2, CP=1).is_free


# --- reserved -----------------------------------------------------------------------------------------


def test_all_seats_as_asked_complete_the_reservation() -> None:
    given(PLACED, TOTALS).when(MarkAsReserved("o1", {"GA": 1, "CP": 1}, LATER, 1)).then(RESERVED)
    given(PLACED, TOTALS).when(MarkAsReserved("o1", {"GA": 1, "CP": 1, "WS": 0}, LATER, 1)).then(RESERVED)


def test_less_than_asked_is_a_partial_reservation_with_totals_anew() -> None:
    given(PLACED, TOTALS).when(MarkAsReserved("o1", {"GA": 1, "CP": 0}, LATER, 1)).then(
        OrderPartiallyReserved("o1", {"GA": 1}, LATER), totals_of(GA=1)
    )


def test_nothing_at_all_is_a_partial_reservation_that_cannot_be_confirmed() -> None:
    partial = OrderPartiallyReserved("o1", {}, LATER)
    nothing = OrderTotalsCalculated("o1", [], Decimal("0.00"), is_free=True)
    given(PLACED, TOTALS).when(MarkAsReserved("o1", {"GA": 0}, LATER, 1)).then(partial, nothing)
    given(PLACED, TOTALS, partial, nothing).when(ConfirmOrder("o1")).then_refused(NotInThisPhase)


def test_seats_that_are_offered_later_come_at_the_prices_of_the_order() -> None:
    before = given(PLACED, TOTALS, OrderPartiallyReserved("o1", {"GA": 1}, LATER), totals_of(GA=1))
    before.when(MarkAsReserved("o1", {"GA": 1, "CP": 1}, LATER, 1)).then(RESERVED, TOTALS)


def test_the_same_mark_again_changes_nothing() -> None:
    given(PLACED, TOTALS, RESERVED).when(MarkAsReserved("o1", {"GA": 1, "CP": 1}, LATER, 1)).then_nothing()


def test_seats_of_a_type_that_the_order_never_asked_for_have_no_price() -> None:
    given(PLACED, TOTALS).when(MarkAsReserved("o1", {"GA": 1, "WS": 1}, LATER, 1)).then_refused(UnknownSeatType, "'WS'")


def test_an_answer_to_an_earlier_wish_changes_nothing() -> None:
    changed = given(PLACED, TOTALS, OrderUpdated("o1", {"GA": 2}), totals_of(GA=2))
    changed.when(MarkAsReserved("o1", {"GA": 1, "CP": 1}, LATER, 1)).then_nothing()
    changed.when(MarkAsReserved("o1", {"GA": 2}, LATER, 2)).then(OrderReservationCompleted("o1", {"GA": 2}, LATER))


def test_a_confirmed_order_is_not_marked_and_one_that_is_over_stays_as_it_is() -> None:
    mark = MarkAsReserved("o1", {"GA": 1}, LATER, 1)
    given(PLACED, TOTALS, RESERVED, CONFIRMED).when(mark).then_refused(NotInThisPhase)
    given(PLACED, TOTALS, EXPIRED).when(mark).then_nothing()
    given(PLACED, TOTALS, CANCELLED).when(mark).then_nothing()


# --- the registrant -----------------------------------------------------------------------------------


def test_the_registrant_is_assigned_and_the_same_again_changes_nothing() -> None:
    ann = OrderRegistrantAssigned("o1", "Ann", "Lee", "ann@example.org")
    given(PLACED).when(AssignRegistrant("o1", "Ann", "Lee", "ann@example.org")).then(ann)
    given(PLACED, ann).when(AssignRegistrant("o1", "Ann", "Lee", "ann@example.org")).then_nothing()


@pytest.mark.parametrize("field", ["first_name", "last_name", "email"])
def test_a_missing_field_of_the_registrant_is_refused_at_that_field(field: str) -> None:
    whole = AssignRegistrant("o1", "Ann", "Lee", "ann@example.org")
    refusal = given(PLACED).when(msgspec.structs.replace(whole, **{field: " "})).then_refused(InvalidField)
    assert (refusal.field, refusal.reason) == (field, "is required")


# --- confirming ---------------------------------------------------------------------------------------


def test_a_reserved_order_is_confirmed_by_a_payment_of_its_total() -> None:
    given(PLACED, TOTALS, RESERVED).when(CONFIRM).then(CONFIRMED)


@pytest.mark.parametrize("paid", ["248.99", "249.01", "0"])
def test_another_amount_confirms_nothing(paid: str) -> None:
    refusal = given(PLACED, TOTALS, RESERVED).when(ConfirmOrder("o1", "p1", Decimal(paid))).then_refused(WrongAmount)
    assert (refusal.total, refusal.paid) == (Decimal("249.00"), Decimal(paid))


def test_an_order_that_costs_something_is_not_confirmed_without_payment_and_a_free_one_is() -> None:
    given(PLACED, TOTALS, RESERVED).when(ConfirmOrder("o1")).then_refused(WrongAmount)
    free = (
        OrderPlaced("o1", "c1", {"FREE": 1}, LATER, "A1B2C3"),
        totals_of(FREE=1),
        OrderReservationCompleted("o1", {"FREE": 1}, LATER),
    )
    confirmed = OrderConfirmed("o1", "c1", {"FREE": 1}, Decimal("0.00"), None)
    given(*free).when(ConfirmOrder("o1")).then(confirmed)
    given(*free, confirmed).when(ConfirmOrder("o1")).then_nothing()


@pytest.mark.parametrize("before", [(PLACED, TOTALS), (PLACED, TOTALS, RESERVED, EXPIRED), (PLACED, CANCELLED)])
def test_an_order_without_seats_is_not_confirmed(before: Any) -> None:
    given(*before).when(CONFIRM).then_refused(NotInThisPhase)


def test_an_order_whose_wish_was_changed_is_not_confirmed_before_the_answer() -> None:
    given(PLACED, TOTALS, RESERVED, OrderUpdated("o1", {"GA": 2}), totals_of(GA=2)).when(CONFIRM).then_refused(
        NotInThisPhase
    )


# --- expiring, reinstating, cancelling ----------------------------------------------------------------


def test_an_order_is_rejected_once_and_never_when_confirmed_or_unknown() -> None:
    given(PLACED, TOTALS).when(RejectOrder("o1")).then(EXPIRED)
    given(PLACED, TOTALS, RESERVED).when(RejectOrder("o1")).then(EXPIRED)
    given(PLACED, TOTALS, EXPIRED).when(RejectOrder("o1")).then_nothing()
    given(PLACED, TOTALS, CANCELLED).when(RejectOrder("o1")).then_nothing()
    given().when(RejectOrder("o1")).then_nothing()
    given(PLACED, TOTALS, RESERVED, CONFIRMED).when(RejectOrder("o1")).then_refused(NotInThisPhase)


def test_only_an_expired_order_is_reinstated_and_it_is_confirmed_once_its_seats_are_held() -> None:
    reinstated = OrderReinstated("o1", "c1")
    over = given(PLACED, TOTALS, RESERVED, EXPIRED)
    over.when(ReinstateOrder("o1")).then(reinstated)
    for before in [(PLACED,), (PLACED, TOTALS, RESERVED, CONFIRMED), (PLACED, CANCELLED)]:
        given(*before).when(ReinstateOrder("o1")).then_refused(NotInThisPhase)
    given(PLACED, TOTALS, RESERVED, EXPIRED, reinstated).when(CONFIRM).then_refused(NotInThisPhase)
    given(PLACED, TOTALS, RESERVED, EXPIRED, reinstated, RESERVED).when(CONFIRM).then(CONFIRMED)


def test_an_order_is_cancelled_before_and_after_it_is_confirmed_and_only_once() -> None:
    after = OrderCancelled("o1", "c1", was_confirmed=True)
    given(PLACED, TOTALS).when(CancelOrder("o1")).then(CANCELLED)
    given(PLACED, TOTALS, RESERVED, CONFIRMED).when(CancelOrder("o1")).then(after)
    given(PLACED, TOTALS, RESERVED, CONFIRMED, after).when(CancelOrder("o1")).then_nothing()
    given(PLACED, TOTALS, CANCELLED).when(CancelOrder("o1")).then_nothing()
    given(PLACED, TOTALS, EXPIRED).when(CancelOrder("o1")).then_nothing()


@pytest.mark.parametrize(
    "command",
    [
        MarkAsReserved("o1", {}, LATER, 1),
        AssignRegistrant("o1", "Ann", "Lee", "ann@example.org"),
        CONFIRM,
        ReinstateOrder("o1"),
        CancelOrder("o1"),
    ],
)
def test_an_order_that_is_not_there_is_unknown(command: Any) -> None:
    given().when(command).then_refused(UnknownOrder, "'o1'")

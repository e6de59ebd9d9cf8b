"""Every line of the registration process's table, what was mended in it, and what comes twice, late or at the same time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from examples.conference.orders import (
    ConfirmOrder,
    MarkAsReserved,
    NotInThisPhase,
    OrderCancelled,
    OrderConfirmed,
    OrderExpired,
    OrderPlaced,
    OrderReinstated,
    OrderUpdated,
    ReinstateOrder,
    RejectOrder,
    WrongAmount,
)
from examples.conference.payments import PaymentCompleted, RefundPayment
from examples.conference.registration import RegistrationProcess, order_of
from examples.conference.seats import (
    CancelReservation,
    CommitReservation,
    MakeReservation,
    ReleaseSeats,
    Seats,
    SeatsReserved,
    UnknownSeatType,
)
from examples.conference.waiting import LeaveWaitingList, OfferAccepted, WaitingListJoined
from sacho.errors import UnknownProcess
from sacho.testing import given_process

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
EXPIRES = NOW + timedelta(minutes=15)
DEADLINE = NOW + timedelta(minutes=29)
TOTAL = Decimal("398.00")

given = given_process(RegistrationProcess(), now=NOW)

PLACED = OrderPlaced("o1", "c1", {"GA": 2}, EXPIRES, "A1B2C3")
PAID = PaymentCompleted("p1", "o1", TOTAL)
CONFIRMED = OrderConfirmed("o1", "c1", {"GA": 2}, TOTAL, "p1")
EXPIRED = OrderExpired("o1", "c1")
REINSTATED = OrderReinstated("o1", "c1")
CANCELLED = OrderCancelled("o1", "c1", was_confirmed=False)
CANCELLED_AFTER = OrderCancelled("o1", "c1", was_confirmed=True)
CONFIRM = ConfirmOrder("o1", "p1", TOTAL)
JOINED = WaitingListJoined("c1", "WS", "o1", 1, 1)
ACCEPTED = OfferAccepted("c1", "WS", "o1", 1, "o1~offer7")


def ask(request: int, seats: Seats, reservation: str = "o1") -> MakeReservation:
    return MakeReservation("c1", reservation, seats, request)


def answer(request: int, held: Seats, reservation: str = "o1") -> SeatsReserved:
    return SeatsReserved("c1", reservation, held, {}, request)


def mark(seats: Seats, expires_at: datetime = EXPIRES, wish: int = 1) -> MarkAsReserved:
    return MarkAsReserved("o1", seats, expires_at, wish)


HELD = answer(1, {"GA": 2})


def over_by_deadline() -> Any:
    return given(PLACED, HELD).when_due("payment").after.and_then(EXPIRED)


# --- the table ----------------------------------------------------------------------------------------


def test_a_placed_order_asks_for_its_seats_and_waits_for_a_late_payment_too() -> None:
    given().when(PLACED).then_sends(ask(1, {"GA": 2})).deadlines_are({"payment": DEADLINE})


def test_an_order_that_is_placed_after_its_time_is_rejected_and_that_is_all() -> None:
    given().at(EXPIRES).when(PLACED).then_sends(RejectOrder("o1")).deadlines_are({}).is_done()


def test_another_wish_asks_anew_under_the_same_reservation_and_the_deadline_stays() -> None:
    updated = OrderUpdated("o1", {"GA": 3})
    for before in (given(PLACED), given(PLACED, HELD)):
        before.at(NOW + timedelta(minutes=5)).when(updated).then_sends(ask(2, {"GA": 3})).deadlines_are(
            {"payment": DEADLINE}
        )


def test_only_the_answer_to_the_latest_request_counts() -> None:
    given(PLACED).when(HELD).then_sends(mark({"GA": 2}))
    changed = given(PLACED, OrderUpdated("o1", {"GA": 3}))
    changed.when(HELD).then_nothing()
    changed.when(answer(2, {"GA": 3})).then_sends(mark({"GA": 3}, wish=2))


def test_an_answer_that_comes_again_or_for_nobody_changes_nothing() -> None:
    given(PLACED, HELD).when(HELD).then_nothing()
    assert order_of(SeatsReserved("c1", "r1", {"GA": 2}, {"GA": -2})) is None
    assert order_of(SeatsReserved("c1", "o1~offer7", {"GA": 2}, {"GA": -2})) is None
    assert order_of(answer(1, {}, "o1~2")) == "o1"


def test_a_type_of_which_nothing_is_held_is_no_part_of_what_is_reserved() -> None:
    given(PLACED).when(answer(1, {"GA": 2, "WS": 0})).then_sends(mark({"GA": 2}))


def test_a_payment_confirms_the_order_by_what_was_paid() -> None:
    given(PLACED, HELD).when(PAID).then_sends(CONFIRM)


def test_a_confirmed_order_takes_its_seats_for_good_and_drops_the_deadline() -> None:
    for before in (given(PLACED, HELD, PAID), given(PLACED, HELD)):
        before.when(CONFIRMED).then_sends(CommitReservation("c1", "o1")).deadlines_are({}).is_done()


def test_the_deadline_rejects_the_order_which_then_gives_its_seats_back() -> None:
    due = given(PLACED, HELD).when_due("payment").then_sends(RejectOrder("o1"))
    due.after.when(EXPIRED).then_sends(CancelReservation("c1", "o1")).is_done()


def test_the_deadline_before_an_answer_does_the_same() -> None:
    due = given(PLACED).when_due("payment").then_sends(RejectOrder("o1"))
    due.after.when(EXPIRED).then_sends(CancelReservation("c1", "o1")).is_done()
    due.after.when(HELD).then_nothing()


def test_a_cancelled_order_gives_its_seats_back() -> None:
    for before in (given(PLACED), given(PLACED, HELD)):
        before.when(CANCELLED).then_sends(CancelReservation("c1", "o1")).is_done()


def test_an_order_that_is_cancelled_when_paid_gives_the_money_back_too() -> None:
    given(PLACED, HELD, PAID).when(CANCELLED).then_sends(
        CancelReservation("c1", "o1"), RefundPayment("p1", "order cancelled")
    ).is_done()


def test_an_order_that_is_cancelled_after_it_was_confirmed_releases_its_seats_and_is_refunded_once() -> None:
    cancelled = given(PLACED, HELD, PAID, CONFIRMED).when(CANCELLED_AFTER)
    cancelled.then_sends(ReleaseSeats("c1", "o1"), RefundPayment("p1", "order cancelled")).is_done()
    cancelled.after.when(CANCELLED_AFTER).then_nothing()


def test_a_free_order_that_is_cancelled_has_nothing_to_refund() -> None:
    free = OrderConfirmed("o1", "c1", {"GA": 2}, Decimal(0), None)
    given(PLACED, HELD, free).when(CANCELLED_AFTER).then_sends(ReleaseSeats("c1", "o1")).is_done()


# --- a late payment -----------------------------------------------------------------------------------


def test_a_payment_after_the_deadline_asks_for_the_seats_again_under_a_new_reservation() -> None:
    over_by_deadline().when(PAID).then_sends(ask(2, {"GA": 2}, "o1~2"))


def test_where_all_seats_are_there_again_the_order_is_reinstated_and_then_as_paid() -> None:
    late = NOW + timedelta(minutes=40)
    again = over_by_deadline().at(late).and_then(PAID).when(answer(2, {"GA": 2}, "o1~2"))
    reinstated = again.then_sends(ReinstateOrder("o1")).after.when(REINSTATED)
    reinstated.then_sends(mark({"GA": 2}, late + timedelta(minutes=15)), CONFIRM)
    reinstated.after.when(CONFIRMED).then_sends(CommitReservation("c1", "o1~2")).is_done()


@pytest.mark.parametrize("held", [{"GA": 1}, {"GA": 0}])
def test_where_any_is_gone_what_was_held_goes_back_and_the_money_too(held: Seats) -> None:
    gone = over_by_deadline().and_then(PAID).when(answer(2, held, "o1~2"))
    gone.then_sends(CancelReservation("c1", "o1~2"), RefundPayment("p1", "seats gone")).is_done()


def test_after_a_refund_another_late_payment_is_tried_again_under_yet_another_reservation() -> None:
    gone = over_by_deadline().and_then(PAID).and_then(answer(2, {"GA": 0}, "o1~2"))
    gone.when(PaymentCompleted("p2", "o1", TOTAL)).then_sends(ask(3, {"GA": 2}, "o1~3"))


def test_seat_types_that_are_no_more_are_seats_that_are_gone() -> None:
    late = over_by_deadline().and_then(PAID)
    late.when_refused(ask(2, {"GA": 2}, "o1~2"), UnknownSeatType("GA")).then_sends(
        CancelReservation("c1", "o1~2"), RefundPayment("p1", "seats gone")
    ).is_done()


def test_a_payment_while_the_order_expires_keeps_the_seats_that_are_still_held() -> None:
    expiring = given(PLACED, HELD).when_due("payment").after
    expiring.when(PAID).then_sends()
    paid = expiring.and_then(PAID).when(EXPIRED).then_sends(ReinstateOrder("o1"))
    paid.after.when(REINSTATED).then_sends(mark({"GA": 2}, DEADLINE + timedelta(minutes=15)), CONFIRM)


def test_a_payment_while_the_order_expires_without_an_answer_asks_for_seats_again() -> None:
    expiring = given(PLACED).when_due("payment").after.and_then(PAID)
    expiring.when(EXPIRED).then_sends(CancelReservation("c1", "o1"), ask(2, {"GA": 2}, "o1~2"))


def test_another_wish_while_the_order_expires_is_what_a_late_payment_asks_for() -> None:
    expiring = given(PLACED, HELD).when_due("payment").after.and_then(OrderUpdated("o1", {"GA": 3}))
    paid = expiring.and_then(PAID).when(EXPIRED)
    paid.then_sends(CancelReservation("c1", "o1"), ask(2, {"GA": 3}, "o1~2"))


# --- mended -------------------------------------------------------------------------------------------


def test_a_deadline_never_touches_an_order_that_is_paid() -> None:
    given(PLACED, HELD, PAID).when_due("payment").then_nothing()
    given(PLACED, PAID).when_due("payment").then_nothing()


def test_an_order_that_was_confirmed_at_the_very_deadline_keeps_its_seats() -> None:
    free = OrderConfirmed("o1", "c1", {"GA": 2}, Decimal(0), None)
    due = given(PLACED, HELD).when_due("payment").after
    confirmed = due.when(free).then_sends(CommitReservation("c1", "o1")).is_done()
    confirmed.after.when_refused(RejectOrder("o1"), NotInThisPhase("o1", "confirmed", "rejected")).then_nothing()


def test_a_message_after_the_end_starts_no_second_process() -> None:
    ends = [over_by_deadline(), given(PLACED, HELD, PAID, CONFIRMED), given(PLACED, CANCELLED)]
    for over in ends:
        for late in (PLACED, OrderUpdated("o1", {"GA": 1}), HELD, CONFIRMED, EXPIRED, REINSTATED):
            over.when(late).then_nothing()


def test_what_comes_for_an_order_that_was_never_placed_is_an_error() -> None:
    for early in (PAID, HELD, CANCELLED):
        given().when(early).then_fails(UnknownProcess)


# --- money --------------------------------------------------------------------------------------------


def test_the_same_payment_again_changes_nothing() -> None:
    for before in (given(PLACED, HELD, PAID), given(PLACED, HELD, PAID, CONFIRMED)):
        before.when(PAID).then_nothing()


def test_a_second_payment_is_refunded() -> None:
    second, refund = PaymentCompleted("p2", "o1", TOTAL), RefundPayment("p2", "paid before")
    given(PLACED, HELD, PAID).when(second).then_sends(refund)
    given(PLACED, HELD, PAID, CONFIRMED).when(second).then_sends(refund).is_done()
    over_by_deadline().and_then(PAID).when(second).then_sends(refund)


def test_a_payment_for_an_order_that_was_confirmed_without_it_is_refunded() -> None:
    """A partly reserved order may have become free of charge, and its registrant confirms it while the money is on its way."""
    free = OrderConfirmed("o1", "c1", {"WS": 1}, Decimal(0), None)
    for before in (given(PLACED, HELD, PAID), given(PLACED, HELD).when_due("payment").after.and_then(PAID)):
        before.when(free).then_sends(CommitReservation("c1", "o1"), RefundPayment("p1", "order not payable")).is_done()


def test_a_payment_for_an_order_that_was_cancelled_is_refunded() -> None:
    given(PLACED, HELD, CANCELLED).when(PAID).then_sends(RefundPayment("p1", "order cancelled")).is_done()


def test_a_payment_before_the_answer_confirms_with_the_answer() -> None:
    given(PLACED).when(PAID).then_sends()
    given(PLACED, PAID).when(HELD).then_sends(mark({"GA": 2}), CONFIRM)


def test_another_amount_than_the_order_costs_is_refunded_and_the_order_waits_for_the_right_one() -> None:
    wrong = given(PLACED, HELD, PAID).when_refused(CONFIRM, WrongAmount("o1", Decimal(1), TOTAL))
    wrong.then_sends(RefundPayment("p1", "not what it costs")).deadlines_are({"payment": DEADLINE})
    wrong.after.when(PaymentCompleted("p2", "o1", Decimal(1))).then_sends(ConfirmOrder("o1", "p2", Decimal(1)))
    wrong.after.when_due("payment").then_sends(RejectOrder("o1"))


def test_a_wrong_amount_after_the_deadline_ends_the_order_at_once() -> None:
    late = given(PLACED, HELD, PAID).when_due("payment").after.at(NOW + timedelta(hours=1))
    wrong = late.when_refused(CONFIRM, WrongAmount("o1", Decimal(1), TOTAL))
    wrong.deadlines_are({"payment": NOW + timedelta(hours=1)})


def test_an_order_that_was_changed_while_the_payment_was_on_its_way_is_not_confirmed_by_it() -> None:
    changed = given(PLACED, HELD, PAID).when(OrderUpdated("o1", {"GA": 3})).then_sends(ask(2, {"GA": 3}))
    refused = changed.after.when_refused(CONFIRM, NotInThisPhase("o1", "placed", "confirmed"))
    refused.then_sends(RefundPayment("p1", "order not payable"))
    refused.after.when(answer(2, {"GA": 3})).then_sends(mark({"GA": 3}, wish=2))


def test_seats_of_an_unknown_type_reject_the_order_and_refund_what_was_paid() -> None:
    unknown = UnknownSeatType("GA")
    refused = given(PLACED).when_refused(ask(1, {"GA": 2}), unknown).then_sends(RejectOrder("o1"))
    refused.after.when(EXPIRED).then_sends(CancelReservation("c1", "o1")).is_done()
    given(PLACED, PAID).when_refused(ask(1, {"GA": 2}), unknown).then_sends(
        RefundPayment("p1", "order not payable"), RejectOrder("o1")
    )


# --- the waiting list ---------------------------------------------------------------------------------


def test_an_offer_brings_an_expired_order_back_with_what_was_offered() -> None:
    later = NOW + timedelta(hours=2)
    accepted = over_by_deadline().and_then(JOINED).at(later).when(ACCEPTED).then_sends(ReinstateOrder("o1"))
    reinstated = accepted.after.when(REINSTATED)
    reinstated.then_sends(mark({"WS": 1}, later + timedelta(minutes=15)))
    reinstated.deadlines_are({"payment": later + timedelta(minutes=29)})
    paid = reinstated.after.when(PAID).then_sends(CONFIRM)
    confirmed = OrderConfirmed("o1", "c1", {"WS": 1}, TOTAL, "p1")
    paid.after.when(confirmed).then_sends(
        CommitReservation("c1", "o1~2"), CommitReservation("c1", "o1~offer7"), LeaveWaitingList("c1", "WS", "o1")
    ).is_done()
    reinstated.after.when_due("payment").after.when(EXPIRED).then_sends(
        CancelReservation("c1", "o1~2"), CancelReservation("c1", "o1~offer7")
    ).is_done()


def test_an_offer_adds_to_an_order_that_holds_other_seats_and_gives_it_more_time() -> None:
    later = NOW + timedelta(minutes=10)
    accepted = given(PLACED, HELD, JOINED).at(later).when(ACCEPTED)
    accepted.then_sends(mark({"GA": 2, "WS": 1}, later + timedelta(minutes=15)))
    accepted.deadlines_are({"payment": later + timedelta(minutes=29)})
    accepted.after.when(OrderUpdated("o1", {"GA": 3, "WS": 1})).then_sends(ask(2, {"GA": 3}))
    accepted.after.when(OrderUpdated("o1", {"GA": 2})).then_sends(
        CancelReservation("c1", "o1~offer7"), ask(2, {"GA": 2})
    )


def test_an_offer_between_request_and_answer_counts_with_the_answer() -> None:
    given(PLACED, JOINED, ACCEPTED).when(HELD).then_sends(mark({"GA": 2, "WS": 1}))


def test_an_offer_that_an_order_cannot_use_any_more_is_given_back() -> None:
    back = CancelReservation("c1", "o1~offer7")
    given(PLACED, HELD, PAID, CONFIRMED).when(ACCEPTED).then_sends(back).is_done()
    given(PLACED, CANCELLED).when(ACCEPTED).then_sends(back).is_done()
    given(PLACED, HELD, PAID).when(ACCEPTED).then_sends(back)


def test_an_offer_that_came_too_late_for_what_was_confirmed_is_given_back() -> None:
    free = OrderConfirmed("o1", "c1", {"GA": 2}, Decimal(0), None)
    accepted = given(PLACED, HELD, ACCEPTED)
    accepted.when(free).then_sends(CommitReservation("c1", "o1"), CancelReservation("c1", "o1~offer7")).is_done()


def test_an_order_that_is_over_for_good_waits_no_more() -> None:
    leave = LeaveWaitingList("c1", "WS", "o1")
    given(PLACED, HELD, JOINED, PAID).when(CONFIRMED).then_sends(CommitReservation("c1", "o1"), leave)
    given(PLACED, HELD, JOINED).when(CANCELLED).then_sends(CancelReservation("c1", "o1"), leave)
    given(PLACED, HELD, PAID, CONFIRMED).when(JOINED).then_sends(leave).is_done()
    given(PLACED, CANCELLED).when(JOINED).then_sends(leave).is_done()


def test_an_expired_order_may_wait_and_stays_expired() -> None:
    over_by_deadline().when(JOINED).then_sends().is_done()

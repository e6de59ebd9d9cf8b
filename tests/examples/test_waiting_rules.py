"""Every rule of waiting lists, as given/when/then."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from examples.conference.rules import InvalidField
from examples.conference.waiting import (
    AcceptOffer,
    DeclineOffer,
    DoesNotWait,
    ExpireOffer,
    JoinWaitingList,
    LeaveWaitingList,
    NoOffer,
    OfferAccepted,
    OfferSeats,
    OfferWithdrawn,
    SeatsOffered,
    Waiter,
    WaitingList,
    WaitingListJoined,
    WaitingListLeft,
    WaitsAlready,
    first_who_fits,
)
from sacho.testing import given_for

given = given_for(WaitingList())

THEN = datetime(2027, 3, 1, 12, 30, tzinfo=UTC)
FIRST = WaitingListJoined("c1", "WS", "o1", 2, 1)
SECOND = WaitingListJoined("c1", "WS", "o2", 1, 2)
OFFER = OfferSeats("c1", "WS", "o1", 2, "r1", THEN)
OFFERED = SeatsOffered("c1", "WS", "o1", 2, "r1", THEN)
LEAVE = LeaveWaitingList("c1", "WS", "o1")
ACCEPT = AcceptOffer("c1", "WS", "o1")
DECLINE = DeclineOffer("c1", "WS", "o1")
EXPIRE = ExpireOffer("c1", "WS", "o1", "r1")


def withdrawn(ending: Any) -> OfferWithdrawn:
    return OfferWithdrawn("c1", "WS", "o1", "r1", ending)


def test_who_joins_is_told_the_place_and_joins_once() -> None:
    given().when(JoinWaitingList("c1", "WS", "o1", 2)).then(FIRST)
    given(FIRST).when(JoinWaitingList("c1", "WS", "o2", 1)).then(SECOND)
    given(FIRST, SECOND).when(JoinWaitingList("c1", "WS", "o1", 1)).then_refused(WaitsAlready)


@pytest.mark.parametrize("seats", [0, -1, 21, 1.5])
def test_a_number_of_seats_that_cannot_be_meant_is_refused(seats: Any) -> None:
    given().when(JoinWaitingList("c1", "WS", "o1", seats)).then_refused(InvalidField)


def test_one_may_leave_at_any_time_with_an_offer_or_without() -> None:
    given(FIRST).when(LEAVE).then(WaitingListLeft("c1", "WS", "o1"))
    given(FIRST, OFFERED).when(LEAVE).then(withdrawn("left"))
    given().when(LEAVE).then_nothing()
    given(FIRST, WaitingListLeft("c1", "WS", "o1")).when(LEAVE).then_nothing()


def test_only_who_waits_is_offered_seats_and_one_offer_at_a_time() -> None:
    given(FIRST).when(OFFER).then(OFFERED)
    given(FIRST, OFFERED).when(OFFER).then_refused(DoesNotWait)
    given(SECOND).when(OFFER).then_refused(DoesNotWait)
    given(FIRST, WaitingListLeft("c1", "WS", "o1")).when(OFFER).then_refused(DoesNotWait)


def test_an_offer_is_accepted_or_declined_or_its_time_passes_once() -> None:
    accepted = OfferAccepted("c1", "WS", "o1", 2, "r1")
    given(FIRST, OFFERED).when(ACCEPT).then(accepted)
    given(FIRST, OFFERED).when(DECLINE).then(withdrawn("declined"))
    given(FIRST, OFFERED).when(EXPIRE).then(withdrawn("timed out"))
    for end in (accepted, withdrawn("declined"), withdrawn("timed out")):
        given(FIRST, OFFERED, end).when(ACCEPT).then_refused(NoOffer)
        given(FIRST, OFFERED, end).when(DECLINE).then_refused(NoOffer)
        given(FIRST, OFFERED, end).when(EXPIRE).then_nothing()


def test_without_an_offer_there_is_nothing_to_accept_or_decline() -> None:
    for command in (ACCEPT, DECLINE):
        given(FIRST).when(command).then_refused(NoOffer)
        given().when(command).then_refused(NoOffer)


def test_the_time_of_an_earlier_offer_ends_no_later_one() -> None:
    again = SeatsOffered("c1", "WS", "o1", 2, "r2", THEN)
    given(FIRST, OFFERED, withdrawn("declined"), FIRST, again).when(EXPIRE).then_nothing()


def test_whose_offer_ended_may_join_again_at_the_end() -> None:
    given(FIRST, SECOND, OFFERED, withdrawn("timed out")).when(JoinWaitingList("c1", "WS", "o1", 2)).then(
        WaitingListJoined("c1", "WS", "o1", 2, 2)
    )


def test_whose_turn_it_is_goes_by_order_and_who_does_not_fit_is_passed_over() -> None:
    four, two, offered, one = Waiter("o1", 4), Waiter("o2", 2), Waiter("o3", 1, "r1"), Waiter("o4", 1)
    waiters = (four, two, offered, one)
    assert [first_who_fits(waiters, available) for available in (9, 4, 3, 2, 1, 0)] == [four, four, two, two, one, None]

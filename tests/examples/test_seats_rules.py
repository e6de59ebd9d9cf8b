"""Every rule of the seats of a conference, as given/when/then."""

from __future__ import annotations

from typing import Any

import pytest

from examples.conference.seats import (
    AddSeats,
    AvailableSeatsChanged,
    CancelReservation,
    CommitReservation,
    InvalidQuantity,
    MakeReservation,
    OpenSeatType,
    ReleaseSeats,
    RemoveSeats,
    ReservationCancelled,
    ReservationCommitted,
    SeatsAvailability,
    SeatsReleased,
    SeatsReserved,
    UnknownSeatType,
    seats_stream,
)
from sacho import CommandRefused
from sacho.events import declaration_of
from sacho.testing import given_for

given = given_for(SeatsAvailability())

TEN_GA = AvailableSeatsChanged("c1", {"GA": 10})
FIVE_WS = AvailableSeatsChanged("c1", {"WS": 5})
R1_HOLDS_4 = SeatsReserved("c1", "r1", {"GA": 4}, {"GA": -4})
R1_COMMITTED = ReservationCommitted("c1", "r1")
R1_CANCELLED = ReservationCancelled("c1", "r1", {"GA": 4})
R1_RELEASED = SeatsReleased("c1", "r1", {"GA": 4})


def reserve(reservation_id: str, **wanted: int) -> MakeReservation:
    return MakeReservation("c1", reservation_id, wanted)


# --- adding and removing ------------------------------------------------------------------------------


def test_added_seats_can_be_had() -> None:
    given().when(AddSeats("c1", "GA", 10)).then(TEN_GA)
    given(TEN_GA).when(AddSeats("c1", "GA", 3)).then(AvailableSeatsChanged("c1", {"GA": 3}))


def test_removed_seats_can_be_had_no_more() -> None:
    given(TEN_GA).when(RemoveSeats("c1", "GA", 8)).then(AvailableSeatsChanged("c1", {"GA": -8}))
    given(TEN_GA, AvailableSeatsChanged("c1", {"GA": -8})).when(reserve("r1", GA=5)).then(
        SeatsReserved("c1", "r1", {"GA": 2}, {"GA": -2})
    )


def test_the_organiser_may_remove_seats_that_are_taken() -> None:
    given(TEN_GA, R1_HOLDS_4).when(RemoveSeats("c1", "GA", 9)).then(AvailableSeatsChanged("c1", {"GA": -9}))


def test_while_oversold_nothing_can_be_reserved() -> None:
    oversold = given(TEN_GA, R1_HOLDS_4, AvailableSeatsChanged("c1", {"GA": -9}))
    oversold.when(reserve("r2", GA=1)).then(SeatsReserved("c1", "r2", {"GA": 0}, {}))


def test_while_oversold_a_reservation_keeps_what_it_has_and_gets_no_more() -> None:
    oversold = given(TEN_GA, R1_HOLDS_4, AvailableSeatsChanged("c1", {"GA": -9}))
    oversold.when(reserve("r1", GA=6)).then_nothing()


def test_seats_given_back_while_oversold_count_against_what_is_missing() -> None:
    given(TEN_GA, R1_HOLDS_4, AvailableSeatsChanged("c1", {"GA": -9}), R1_CANCELLED).when(reserve("r2", GA=3)).then(
        SeatsReserved("c1", "r2", {"GA": 1}, {"GA": -1})
    )


def test_seats_of_an_unknown_type_cannot_be_removed() -> None:
    given(TEN_GA).when(RemoveSeats("c1", "WS", 1)).then_refused(UnknownSeatType, "'WS'")


@pytest.mark.parametrize("quantity", [0, -1, 1.5, "3", None, True])
def test_what_is_no_number_of_seats_is_refused(quantity: Any) -> None:
    for command in (AddSeats("c1", "GA", quantity), RemoveSeats("c1", "GA", quantity)):
        refusal = given(TEN_GA).when(command).then_refused(InvalidQuantity)
        assert (refusal.seat_type, refusal.quantity) == ("GA", quantity)


# --- making a reservation -----------------------------------------------------------------------------


def test_a_reservation_holds_what_is_wanted_if_it_is_there() -> None:
    given(TEN_GA, FIVE_WS).when(reserve("r1", GA=2, WS=1)).then(
        SeatsReserved("c1", "r1", {"GA": 2, "WS": 1}, {"GA": -2, "WS": -1})
    )


def test_a_reservation_takes_what_is_left() -> None:
    given(TEN_GA).when(reserve("r1", GA=12)).then(SeatsReserved("c1", "r1", {"GA": 10}, {"GA": -10}))


def test_a_reservation_is_recorded_even_when_nothing_could_be_had() -> None:
    given(TEN_GA, SeatsReserved("c1", "r1", {"GA": 10}, {"GA": -10})).when(reserve("r2", GA=1)).then(
        SeatsReserved("c1", "r2", {"GA": 0}, {})
    )


def test_the_same_id_may_ask_for_more() -> None:
    given(TEN_GA, R1_HOLDS_4).when(reserve("r1", GA=6)).then(SeatsReserved("c1", "r1", {"GA": 6}, {"GA": -2}))
    given(TEN_GA, R1_HOLDS_4).when(reserve("r1", GA=99)).then(SeatsReserved("c1", "r1", {"GA": 10}, {"GA": -6}))


def test_the_same_id_may_ask_for_less() -> None:
    given(TEN_GA, R1_HOLDS_4).when(reserve("r1", GA=1)).then(SeatsReserved("c1", "r1", {"GA": 1}, {"GA": 3}))


def test_types_no_longer_wanted_are_released() -> None:
    given(TEN_GA, FIVE_WS, R1_HOLDS_4).when(reserve("r1", WS=2)).then(
        SeatsReserved("c1", "r1", {"GA": 0, "WS": 2}, {"GA": 4, "WS": -2})
    )


def test_a_repeated_reservation_changes_nothing() -> None:
    given(TEN_GA, R1_HOLDS_4).when(reserve("r1", GA=4)).then_nothing()
    given(TEN_GA, SeatsReserved("c1", "r1", {"GA": 10}, {"GA": -10})).when(reserve("r1", GA=12)).then_nothing()


def test_a_reservation_of_an_unknown_type_is_refused_whole() -> None:
    refusal = given(TEN_GA).when(reserve("r1", GA=1, XX=1)).then_refused(UnknownSeatType, "'XX'")
    assert refusal.seat_type == "XX"
    assert isinstance(refusal, CommandRefused)
    given().when(reserve("r1", GA=1)).then_refused(UnknownSeatType)


@pytest.mark.parametrize("quantity", [-1, 1.5, "3", None, True])
def test_a_reservation_of_what_is_no_number_is_refused(quantity: Any) -> None:
    given(TEN_GA).when(reserve("r1", GA=quantity)).then_refused(InvalidQuantity)


# --- how a reservation ends ---------------------------------------------------------------------------


def test_a_committed_reservation_is_final() -> None:
    given(TEN_GA, R1_HOLDS_4).when(CommitReservation("c1", "r1")).then(R1_COMMITTED)


def test_committing_gives_no_seat_back() -> None:
    given(TEN_GA, R1_HOLDS_4, R1_COMMITTED).when(reserve("r2", GA=10)).then(
        SeatsReserved("c1", "r2", {"GA": 6}, {"GA": -6})
    )


def test_a_cancelled_reservation_gives_its_seats_back() -> None:
    given(TEN_GA, R1_HOLDS_4).when(CancelReservation("c1", "r1")).then(R1_CANCELLED)
    given(TEN_GA, R1_HOLDS_4, R1_CANCELLED).when(reserve("r2", GA=10)).then(
        SeatsReserved("c1", "r2", {"GA": 10}, {"GA": -10})
    )


def test_cancelling_what_held_nothing_gives_nothing_back() -> None:
    given(TEN_GA, SeatsReserved("c1", "r1", {"GA": 0}, {})).when(CancelReservation("c1", "r1")).then(
        ReservationCancelled("c1", "r1", {})
    )


def test_seats_of_a_committed_reservation_can_be_released_once() -> None:
    given(TEN_GA, R1_HOLDS_4, R1_COMMITTED).when(ReleaseSeats("c1", "r1")).then(R1_RELEASED)
    given(TEN_GA, R1_HOLDS_4, R1_COMMITTED, R1_RELEASED).when(ReleaseSeats("c1", "r1")).then_nothing()


def test_released_seats_can_be_had_again() -> None:
    given(TEN_GA, R1_HOLDS_4, R1_COMMITTED, R1_RELEASED).when(reserve("r2", GA=10)).then(
        SeatsReserved("c1", "r2", {"GA": 10}, {"GA": -10})
    )


def test_seats_that_are_only_pending_are_not_released() -> None:
    given(TEN_GA, R1_HOLDS_4).when(ReleaseSeats("c1", "r1")).then_nothing()


@pytest.mark.parametrize("command", [CommitReservation, CancelReservation, ReleaseSeats])
def test_an_unknown_reservation_does_nothing(command: Any) -> None:
    given(TEN_GA).when(command("c1", "r9")).then_nothing()
    given().when(command("c1", "r9")).then_nothing()


ENDED = {
    "committed": [TEN_GA, R1_HOLDS_4, R1_COMMITTED],
    "cancelled": [TEN_GA, R1_HOLDS_4, R1_CANCELLED],
    "released": [TEN_GA, R1_HOLDS_4, R1_COMMITTED, R1_RELEASED],
}


@pytest.mark.parametrize("events", ENDED.values(), ids=ENDED.keys())
@pytest.mark.parametrize("command", [reserve("r1", GA=1), CommitReservation("c1", "r1"), CancelReservation("c1", "r1")])
def test_a_reservation_that_is_over_does_not_come_alive_again(events: list[Any], command: Any) -> None:
    given(*events).when(command).then_nothing()


# --- names --------------------------------------------------------------------------------------------


def test_every_event_is_found_by_its_conference() -> None:
    for event in (TEN_GA, R1_HOLDS_4, R1_COMMITTED, R1_CANCELLED, R1_RELEASED):
        declared = declaration_of(type(event))
        assert declared is not None
        assert "conference:c1" in declared.tags(event)


def test_the_seats_of_a_conference_have_a_stream_of_their_own() -> None:
    assert seats_stream("42") == "seats-42"


# --- what the processes ask for -----------------------------------------------------------------------


def test_a_seat_type_is_opened_without_seats_and_only_once() -> None:
    opened = AvailableSeatsChanged("c1", {"WS": 0})
    given(TEN_GA).when(OpenSeatType("c1", "WS")).then(opened)
    given(TEN_GA).when(OpenSeatType("c1", "GA")).then_nothing()
    given(TEN_GA, opened).when(reserve("r1", WS=1)).then(SeatsReserved("c1", "r1", {"WS": 0}, {}))


def test_a_numbered_request_is_answered_by_its_number_even_where_nothing_changes() -> None:
    given(TEN_GA).when(MakeReservation("c1", "r1", {"GA": 4}, 1)).then(
        SeatsReserved("c1", "r1", {"GA": 4}, {"GA": -4}, 1)
    )
    given(TEN_GA, R1_HOLDS_4).when(MakeReservation("c1", "r1", {"GA": 4}, 2)).then(
        SeatsReserved("c1", "r1", {"GA": 4}, {}, 2)
    )


@pytest.mark.parametrize("end", [R1_COMMITTED, R1_CANCELLED])
def test_a_numbered_request_for_a_reservation_that_is_over_changes_nothing(end: Any) -> None:
    given(TEN_GA, R1_HOLDS_4, end).when(MakeReservation("c1", "r1", {"GA": 4}, 2)).then_nothing()

"""Every rule of seat assignments, as given/when/then."""

from __future__ import annotations

from typing import Any

import pytest

from examples.conference.assignments import (
    AssignSeat,
    Attendee,
    CreateSeatAssignments,
    SeatAssigned,
    SeatAssignments,
    SeatAssignmentsCreated,
    SeatAssignmentsWithdrawn,
    SeatAssignmentUpdated,
    SeatUnassigned,
    UnassignSeat,
    UnknownPlace,
    WithdrawSeatAssignments,
)
from examples.conference.rules import InvalidField
from sacho.testing import given_for

given = given_for(SeatAssignments())

CREATED = SeatAssignmentsCreated("o1", ["GA", "GA", "WS"])
ANN = Attendee("Ann", "Lee", "ann@example.org")
BOB = Attendee("Bob", "Kim", "bob@example.org")


def assign(place: Any, attendee: Attendee) -> AssignSeat:
    return AssignSeat("o1", place, attendee.first_name, attendee.last_name, attendee.email)


def test_there_is_one_numbered_place_for_each_seat_and_they_are_made_once() -> None:
    given().when(CreateSeatAssignments("o1", {"GA": 2, "WS": 1})).then(CREATED)
    given(CREATED).when(CreateSeatAssignments("o1", {"GA": 5})).then_nothing()


def test_a_place_that_is_free_is_assigned() -> None:
    given(CREATED).when(assign(2, ANN)).then(SeatAssigned("o1", 2, "WS", ANN))


def test_another_email_on_a_taken_place_unassigns_it_first() -> None:
    given(CREATED, SeatAssigned("o1", 0, "GA", ANN)).when(assign(0, BOB)).then(
        SeatUnassigned("o1", 0), SeatAssigned("o1", 0, "GA", BOB)
    )


def test_the_same_email_whatever_its_case_with_another_name_is_an_update() -> None:
    renamed = Attendee("Anna", "Lee", "ANN@example.org")
    given(CREATED, SeatAssigned("o1", 0, "GA", ANN)).when(assign(0, renamed)).then(
        SeatAssignmentUpdated("o1", 0, renamed)
    )


def test_the_same_attendee_again_changes_nothing() -> None:
    given(CREATED, SeatAssigned("o1", 0, "GA", ANN)).when(assign(0, ANN)).then_nothing()
    shouted = Attendee("Ann", "Lee", "ANN@EXAMPLE.ORG")
    given(CREATED, SeatAssigned("o1", 0, "GA", ANN)).when(assign(0, shouted)).then_nothing()


def test_a_place_is_unassigned_if_it_is_taken() -> None:
    given(CREATED, SeatAssigned("o1", 0, "GA", ANN)).when(UnassignSeat("o1", 0)).then(SeatUnassigned("o1", 0))
    given(CREATED).when(UnassignSeat("o1", 0)).then_nothing()
    given(CREATED, SeatAssigned("o1", 0, "GA", ANN), SeatUnassigned("o1", 0)).when(assign(0, ANN)).then(
        SeatAssigned("o1", 0, "GA", ANN)
    )


@pytest.mark.parametrize("place", [-1, 3, True, "0"])
def test_an_unknown_place_is_an_error(place: Any) -> None:
    given(CREATED).when(assign(place, ANN)).then_refused(UnknownPlace)
    given(CREATED).when(UnassignSeat("o1", place)).then_refused(UnknownPlace)


def test_before_the_order_is_confirmed_there_are_no_places() -> None:
    given().when(assign(0, ANN)).then_refused(UnknownPlace)


@pytest.mark.parametrize(
    ("attendee", "field"),
    [
        (Attendee("Ann", "Lee", ""), "email"),
        (Attendee("Ann", "Lee", "nobody"), "email"),
        (Attendee("", "Lee", "ann@example.org"), "first_name"),
        (Attendee("Ann", "", "ann@example.org"), "last_name"),
    ],
)
def test_a_missing_field_of_an_attendee_is_refused_at_that_field(attendee: Attendee, field: str) -> None:
    assert given(CREATED).when(assign(0, attendee)).then_refused(InvalidField).field == field


def test_places_that_were_withdrawn_are_no_more_and_never_made_again() -> None:
    withdrawn = SeatAssignmentsWithdrawn("o1")
    given(CREATED).when(WithdrawSeatAssignments("o1")).then(withdrawn)
    given(CREATED, withdrawn).when(WithdrawSeatAssignments("o1")).then_nothing()
    given(CREATED, withdrawn).when(assign(0, ANN)).then_refused(UnknownPlace)
    given(CREATED, withdrawn).when(CreateSeatAssignments("o1", {"GA": 2})).then_nothing()

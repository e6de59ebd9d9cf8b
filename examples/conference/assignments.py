"""SeatAssignments: who sits where. One numbered place for each seat of a confirmed order, from 0.

One entity for each order, stream `assignments-<order id>`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from examples.conference.rules import check_email, check_text, same_email
from examples.conference.seats import Seats
from sacho import CommandRefused, Decider, Event, stream_id


def assignments_stream(order_id: str) -> str:
    """Return the stream of an order's seat assignments."""
    return stream_id("assignments", order_id)


class Attendee(msgspec.Struct, frozen=True):
    """Who sits at a place."""

    first_name: str
    last_name: str
    email: str


# --- events -------------------------------------------------------------------------------------------


class SeatAssignmentsCreated(Event, tags=("order:{order_id}",)):
    """The order has these places: the seat type of each, by its number."""

    order_id: str
    places: list[str]


class SeatAssigned(Event, tags=("order:{order_id}",)):
    """A place has its attendee."""

    order_id: str
    place: int
    seat_type: str
    attendee: Attendee


class SeatUnassigned(Event, tags=("order:{order_id}",)):
    """A place is nobody's any more."""

    order_id: str
    place: int


class SeatAssignmentUpdated(Event, tags=("order:{order_id}",)):
    """The attendee of a place has another name."""

    order_id: str
    place: int
    attendee: Attendee


class SeatAssignmentsWithdrawn(Event, tags=("order:{order_id}",)):
    """The order was cancelled, and its places are no more."""

    order_id: str


AssignmentEvent: TypeAlias = (
    SeatAssignmentsCreated | SeatAssigned | SeatUnassigned | SeatAssignmentUpdated | SeatAssignmentsWithdrawn
)

# --- commands -----------------------------------------------------------------------------------------


class CreateSeatAssignments(msgspec.Struct, frozen=True):
    """Make the places of an order; a second time changes nothing."""

    order_id: str
    seats: Seats


class AssignSeat(msgspec.Struct, frozen=True):
    """Say who sits at a place."""

    order_id: str
    place: int
    first_name: str
    last_name: str
    email: str


class UnassignSeat(msgspec.Struct, frozen=True):
    """Say that nobody sits at a place."""

    order_id: str
    place: int


class WithdrawSeatAssignments(msgspec.Struct, frozen=True):
    """Take the places of an order back; a second time changes nothing."""

    order_id: str


AssignmentCommand: TypeAlias = CreateSeatAssignments | AssignSeat | UnassignSeat | WithdrawSeatAssignments

# --- refusals -----------------------------------------------------------------------------------------


class UnknownPlace(CommandRefused):
    """The order has no such place. Carries `order_id`, `place`."""

    def __init__(self, order_id: str, place: int) -> None:
        self.order_id = order_id
        self.place = place
        super().__init__(f"order {order_id!r} has no place {place}")


# --- state --------------------------------------------------------------------------------------------


class AssignmentsState(msgspec.Struct, frozen=True):
    """The seat types of the places, in order, and who sits where."""

    places: tuple[str, ...] = ()
    attendees: dict[int, Attendee] = {}
    exists: bool = False


class SeatAssignments(Decider[AssignmentCommand, AssignmentsState, AssignmentEvent]):
    """Decides who sits where."""

    initial = AssignmentsState()

    def decide(self, command: AssignmentCommand, state: AssignmentsState) -> Iterator[AssignmentEvent]:
        match command:
            case CreateSeatAssignments(order_id, seats) if not state.exists:
                yield SeatAssignmentsCreated(order_id, [type for type, count in seats.items() for _ in range(count)])
            case AssignSeat(order_id, place):
                _check_place(order_id, place, state)
                yield from _assign(command, state)
            case UnassignSeat(order_id, place):
                _check_place(order_id, place, state)
                if place in state.attendees:
                    yield SeatUnassigned(order_id, place)
            case WithdrawSeatAssignments(order_id) if state.places:
                yield SeatAssignmentsWithdrawn(order_id)

    def evolve(self, state: AssignmentsState, event: AssignmentEvent) -> AssignmentsState:
        replace = msgspec.structs.replace
        match event:
            case SeatAssignmentsCreated(_, places):
                return AssignmentsState(tuple(places), exists=True)
            case SeatAssigned(_, place, _, attendee) | SeatAssignmentUpdated(_, place, attendee):
                return replace(state, attendees={**state.attendees, place: attendee})
            case SeatUnassigned(_, gone):
                return replace(state, attendees={key: one for key, one in state.attendees.items() if key != gone})
            case SeatAssignmentsWithdrawn():
                return AssignmentsState(exists=True)


def _assign(command: AssignSeat, state: AssignmentsState) -> Iterator[AssignmentEvent]:
    check_email("email", command.email)
    check_text("first_name", command.first_name, most=100)
    check_text("last_name", command.last_name, most=100)
    order_id, place, here = command.order_id, command.place, state.attendees.get(command.place)
    attendee = Attendee(command.first_name, command.last_name, command.email)
    if here is None or not same_email(here.email, attendee.email):
        if here is not None:
            yield SeatUnassigned(order_id, place)
        yield SeatAssigned(order_id, place, state.places[place], attendee)
    elif (here.first_name, here.last_name) != (attendee.first_name, attendee.last_name):
        yield SeatAssignmentUpdated(order_id, place, attendee)


def _check_place(order_id: str, place: int, state: AssignmentsState) -> None:
    if type(place) is not int or not 0 <= place < len(state.places):
        raise UnknownPlace(order_id, place)

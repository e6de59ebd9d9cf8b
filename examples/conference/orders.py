"""Order: what somebody wants, what they can have of it, what it costs, and what became of it.

One entity for each order, stream `order-<order id>`. Prices come with the command: they are of another entity, and a
decider reads nothing. The caller takes them from the price list that the registrant sees, so one pays what was shown;
the order keeps them in its lines, and later changes of prices are for later orders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import msgspec

from examples.conference.rules import InvalidField, check_email, check_text, rounded
from examples.conference.seats import InvalidQuantity, Seats, UnknownSeatType
from sacho import CommandRefused, Decider, Event, stream_id

TIME_TO_PAY: Final = timedelta(minutes=15)
MOST_OF_A_TYPE: Final = 20

Prices: TypeAlias = dict[str, Decimal]
"""What one seat costs, by seat type."""
Phase: TypeAlias = Literal["none", "placed", "reserved", "confirmed", "expired", "cancelled"]


def order_stream(order_id: str) -> str:
    """Return the stream of an order."""
    return stream_id("order", order_id)


class Line(msgspec.Struct, frozen=True):
    """One line of an order: price times quantity is its total."""

    seat_type: str
    quantity: int
    price: Decimal
    total: Decimal


# --- events -------------------------------------------------------------------------------------------


class OrderPlaced(Event, tags=("order:{order_id}", "conference:{conference_id}")):
    """Somebody wants seats. The order is found again by e-mail and access code."""

    order_id: str
    conference_id: str
    seats: Seats
    expires_at: datetime
    access_code: str


class OrderUpdated(Event, tags=("order:{order_id}",)):
    """The registrant wants other seats."""

    order_id: str
    seats: Seats


class OrderTotalsCalculated(Event, tags=("order:{order_id}",)):
    """What the seats of the order cost."""

    order_id: str
    lines: list[Line]
    total: Decimal
    is_free: bool


class OrderReservationCompleted(Event, tags=("order:{order_id}",)):
    """All seats of the order are held, until it expires."""

    order_id: str
    seats: Seats
    expires_at: datetime


class OrderPartiallyReserved(Event, tags=("order:{order_id}",)):
    """Fewer seats than asked for are held, until the order expires."""

    order_id: str
    seats: Seats
    expires_at: datetime


class OrderRegistrantAssigned(Event, tags=("order:{order_id}",)):
    """Somebody said who they are."""

    order_id: str
    first_name: str
    last_name: str
    email: str


class OrderConfirmed(Event, tags=("order:{order_id}", "conference:{conference_id}")):
    """The order is final. `payment_id` is None where it was free of charge."""

    order_id: str
    conference_id: str
    seats: Seats
    total: Decimal
    payment_id: str | None


class OrderExpired(Event, tags=("order:{order_id}", "conference:{conference_id}")):
    """The order was not paid in time."""

    order_id: str
    conference_id: str


class OrderReinstated(Event, tags=("order:{order_id}", "conference:{conference_id}")):
    """An expired order goes on: its seats could be had again."""

    order_id: str
    conference_id: str


class OrderCancelled(Event, tags=("order:{order_id}", "conference:{conference_id}")):
    """The registrant cancelled the order, perhaps after it was confirmed."""

    order_id: str
    conference_id: str
    was_confirmed: bool


OrderEvent: TypeAlias = (
    OrderPlaced
    | OrderUpdated
    | OrderTotalsCalculated
    | OrderReservationCompleted
    | OrderPartiallyReserved
    | OrderRegistrantAssigned
    | OrderConfirmed
    | OrderExpired
    | OrderReinstated
    | OrderCancelled
)

# --- commands -----------------------------------------------------------------------------------------


class RegisterToConference(msgspec.Struct, frozen=True):
    """Want seats; for an order that is there, want other ones. `access_code` and `placed_at` count the first time only."""

    order_id: str
    conference_id: str
    seats: Seats
    prices: Prices
    access_code: str
    placed_at: datetime


class MarkAsReserved(msgspec.Struct, frozen=True):
    """Say which seats are held for the order, and until when. `wish` is the number of the wish that this answers, from 1.

    An answer to an earlier wish changes nothing: the registrant wants something else by now.
    """

    order_id: str
    seats: Seats
    expires_at: datetime
    wish: int


class AssignRegistrant(msgspec.Struct, frozen=True):
    """Say who registers."""

    order_id: str
    first_name: str
    last_name: str
    email: str


class ConfirmOrder(msgspec.Struct, frozen=True):
    """Make the order final: by a payment of what it costs, or by none if it is free of charge."""

    order_id: str
    payment_id: str | None = None
    paid: Decimal = Decimal(0)


class RejectOrder(msgspec.Struct, frozen=True):
    """Let the order expire."""

    order_id: str


class ReinstateOrder(msgspec.Struct, frozen=True):
    """Let an expired order go on. Which seats it has is said next, by MarkAsReserved."""

    order_id: str


class CancelOrder(msgspec.Struct, frozen=True):
    """Cancel the order, by the registrant."""

    order_id: str


OrderCommand: TypeAlias = (
    RegisterToConference | MarkAsReserved | AssignRegistrant | ConfirmOrder | RejectOrder | ReinstateOrder | CancelOrder
)

# --- refusals -----------------------------------------------------------------------------------------


class NoItems(CommandRefused):
    """Nothing is wanted."""

    def __init__(self) -> None:
        super().__init__("One or more items are required")


class UnknownOrder(CommandRefused):
    """There is no such order. Carries `order_id`."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        super().__init__(f"there is no order {order_id!r}")


class NotInThisPhase(CommandRefused):
    """The order is not where this can be done. Carries `order_id`, `phase`."""

    def __init__(self, order_id: str, phase: Phase, wish: str) -> None:
        self.order_id = order_id
        self.phase = phase
        super().__init__(f"order {order_id!r} is {phase} and cannot be {wish}")


class WrongAmount(CommandRefused):
    """What was paid is not what the order costs. Carries `order_id`, `total`, `paid`."""

    def __init__(self, order_id: str, total: Decimal, paid: Decimal) -> None:
        self.order_id = order_id
        self.total = total
        self.paid = paid
        super().__init__(f"order {order_id!r} costs {total}, and {paid} was paid")


# --- state --------------------------------------------------------------------------------------------


class OrderState(msgspec.Struct, frozen=True):
    """Where the order stands. `seats` are those asked for, then those held; `prices` all that it was ever told.

    `wish` counts how often something was asked for.
    """

    phase: Phase = "none"
    wish: int = 0
    conference_id: str = ""
    seats: Seats = {}
    prices: Prices = {}
    total: Decimal = Decimal(0)
    expires_at: datetime | None = None
    registrant: tuple[str, str, str] | None = None


class Order(Decider[OrderCommand, OrderState, OrderEvent]):
    """Decides what becomes of an order."""

    initial = OrderState()

    def decide(self, command: OrderCommand, state: OrderState) -> Iterator[OrderEvent]:
        match command:
            case RegisterToConference():
                yield from _register(command, state)
            case RejectOrder(order_id):
                yield from _reject(order_id, state)
            case _ if state.phase == "none":
                raise UnknownOrder(command.order_id)
            case MarkAsReserved():
                yield from _mark_as_reserved(command, state)
            case AssignRegistrant():
                yield from _assign_registrant(command, state)
            case ConfirmOrder():
                yield from _confirm(command, state)
            case ReinstateOrder(order_id):
                if state.phase != "expired":
                    raise NotInThisPhase(order_id, state.phase, "reinstated")
                yield OrderReinstated(order_id, state.conference_id)
            case CancelOrder(order_id) if state.phase not in {"cancelled", "expired"}:
                yield OrderCancelled(order_id, state.conference_id, was_confirmed=state.phase == "confirmed")

    def evolve(self, state: OrderState, event: OrderEvent) -> OrderState:
        replace = msgspec.structs.replace
        match event:
            case OrderPlaced(_, conference_id, seats, expires_at):
                return replace(
                    state, phase="placed", wish=1, conference_id=conference_id, seats=seats, expires_at=expires_at
                )
            case OrderUpdated(_, seats):
                return replace(state, phase="placed", wish=state.wish + 1, seats=seats)
            case OrderTotalsCalculated(_, lines, total):
                return replace(state, total=total, prices=state.prices | {line.seat_type: line.price for line in lines})
            case OrderReservationCompleted(_, seats, expires_at) | OrderPartiallyReserved(_, seats, expires_at):
                return replace(state, phase="reserved", seats=seats, expires_at=expires_at)
            case OrderRegistrantAssigned(_, first_name, last_name, email):
                return replace(state, registrant=(first_name, last_name, email))
            case OrderConfirmed():
                return replace(state, phase="confirmed")
            case OrderExpired():
                return replace(state, phase="expired")
            case OrderReinstated():
                return replace(state, phase="placed")
            case OrderCancelled():
                return replace(state, phase="cancelled")


def _register(command: RegisterToConference, state: OrderState) -> Iterator[OrderEvent]:
    order_id, seats = command.order_id, _wanted(command)
    if state.phase == "none":
        expires_at = command.placed_at + TIME_TO_PAY
        yield OrderPlaced(order_id, command.conference_id, seats, expires_at, command.access_code)
    elif state.phase not in {"placed", "reserved"}:
        raise NotInThisPhase(order_id, state.phase, "changed")
    elif command.conference_id != state.conference_id:
        raise InvalidField("conference_id", "is another one than that of the order")
    else:
        yield OrderUpdated(order_id, seats)
    yield _totals(order_id, seats, command.prices)


def _mark_as_reserved(command: MarkAsReserved, state: OrderState) -> Iterator[OrderEvent]:
    if state.phase == "confirmed":
        raise NotInThisPhase(command.order_id, state.phase, "marked as reserved")
    if state.phase in {"expired", "cancelled"} or command.wish != state.wish:
        return
    seats = {type: quantity for type, quantity in command.seats.items() if quantity}
    for seat_type in seats:
        if seat_type not in state.prices:
            raise UnknownSeatType(seat_type)
    if (state.phase, state.seats, state.expires_at) == ("reserved", seats, command.expires_at):
        return
    is_complete = all(seats.get(type, 0) >= quantity for type, quantity in state.seats.items())
    marked = OrderReservationCompleted if is_complete else OrderPartiallyReserved
    yield marked(command.order_id, seats, command.expires_at)
    if seats != state.seats:
        yield _totals(command.order_id, seats, state.prices)


def _assign_registrant(command: AssignRegistrant, state: OrderState) -> Iterator[OrderEvent]:
    check_text("first_name", command.first_name, most=100)
    check_text("last_name", command.last_name, most=100)
    check_email("email", command.email)
    if state.registrant != (command.first_name, command.last_name, command.email):
        yield OrderRegistrantAssigned(**msgspec.structs.asdict(command))


def _confirm(command: ConfirmOrder, state: OrderState) -> Iterator[OrderEvent]:
    order_id = command.order_id
    if state.phase == "confirmed" and command.payment_id is None:
        return
    if state.phase != "reserved" or not state.seats:
        raise NotInThisPhase(order_id, state.phase, "confirmed")
    if command.paid != state.total:
        raise WrongAmount(order_id, state.total, command.paid)
    yield OrderConfirmed(order_id, state.conference_id, state.seats, state.total, command.payment_id)


def _reject(order_id: str, state: OrderState) -> Iterator[OrderEvent]:
    if state.phase == "confirmed":
        raise NotInThisPhase(order_id, state.phase, "rejected")
    if state.phase in {"placed", "reserved"}:
        yield OrderExpired(order_id, state.conference_id)


def _wanted(command: RegisterToConference) -> Seats:
    """Return what is wanted, without what is not; raise for what cannot be meant."""
    check_text("order_id", command.order_id, most=100)
    if "~" in command.order_id:
        raise InvalidField("order_id", "has a ~, which stands in the ids of reservations")
    for seat_type, quantity in command.seats.items():
        if type(quantity) is not int or not 0 <= quantity <= MOST_OF_A_TYPE:
            raise InvalidQuantity(seat_type, quantity)
    seats = {seat_type: quantity for seat_type, quantity in command.seats.items() if quantity}
    if not seats:
        raise NoItems
    for seat_type in seats:
        if seat_type not in command.prices:
            raise UnknownSeatType(seat_type)
    return seats


def _totals(order_id: str, seats: Seats, prices: Mapping[str, Decimal]) -> OrderTotalsCalculated:
    lines = [
        Line(seat_type, quantity, prices[seat_type], rounded(prices[seat_type] * quantity))
        for seat_type, quantity in seats.items()
    ]
    total = sum((line.total for line in lines), start=Decimal("0.00"))
    return OrderTotalsCalculated(order_id, lines, total, is_free=total == 0)

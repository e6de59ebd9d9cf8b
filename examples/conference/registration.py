"""The registration process: from an order that was placed to one that is confirmed, has expired or was cancelled. One per order.

It reserves seats, waits for the payment until a deadline, and settles what comes late: a payment after the deadline has the
seats reserved again, and is refunded where they are gone. What it knows of the order is what the events said.

    none → awaiting → received → paid → confirmed            an order on its way
               expiring → expired                             the deadline passed
               reclaiming → reinstating → paid | received     and money came after all, or seats of the waiting list

An order gives no seats back before it says itself that it has expired: a free order may be confirmed at that very moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import msgspec

from examples.conference.orders import (
    TIME_TO_PAY,
    ConfirmOrder,
    MarkAsReserved,
    OrderCancelled,
    OrderConfirmed,
    OrderExpired,
    OrderPlaced,
    OrderReinstated,
    OrderUpdated,
    ReinstateOrder,
    RejectOrder,
)
from examples.conference.payments import PaymentCompleted, Reason, RefundPayment
from examples.conference.seats import (
    CancelReservation,
    CommitReservation,
    MakeReservation,
    ReleaseSeats,
    Seats,
    SeatsReserved,
)
from examples.conference.waiting import LeaveWaitingList, OfferAccepted, WaitingListJoined
from sacho.events import CommandTurnedDown, DeadlinePassed
from sacho.reacting import (
    Become,
    Done,
    Moment,
    ProcessManager,
    Reaction,
    Send,
    SetDeadline,
    continues,
    on_deadline,
    on_refusal,
    starts,
)

GRACE: Final = timedelta(minutes=14)
"""For how long after an order's time a payment is still waited for."""

Phase: TypeAlias = Literal[
    "none",
    "awaiting",
    "received",
    "paid",
    "expiring",
    "reclaiming",
    "reinstating",
    "confirmed",
    "expired",
    "cancelled",
]


def reservation_id(order_id: str, number: int) -> str:
    """Return the id of an order's reservation: the order's own id is the first."""
    return order_id if number == 1 else f"{order_id}~{number}"


def order_of(answer: SeatsReserved) -> str | None:
    """Return the order that asked for a reservation; None where none of this process asked."""
    return answer.reservation_id.partition("~")[0] if answer.request else None


class Paid(msgspec.Struct, frozen=True):
    """A payment that came, and how much it was."""

    payment_id: str
    amount: Decimal


class Registration(msgspec.Struct, frozen=True):
    """What is known of an order.

    `seats` are those of the order: as asked for the `wish`-th time, then as reserved. `held` are those of its own reservation (the
    `reservation`-th, asked for by the `request`-th request), `offers` those of the waiting list, by reservation.
    """

    phase: Phase = "none"
    order_id: str = ""
    conference_id: str = ""
    expires_at: datetime | None = None
    wish: int = 0
    seats: Seats = {}
    reservation: int = 1
    request: int = 0
    held: Seats = {}
    offers: dict[str, Seats] = {}
    payment: Paid | None = None
    waits_for: tuple[str, ...] = ()

    @property
    def reservation_id(self) -> str:
        """The id of the order's own reservation."""
        return reservation_id(self.order_id, self.reservation)

    @property
    def reservations(self) -> list[str]:
        """The ids of all reservations that hold seats for the order."""
        return [self.reservation_id, *self.offers]

    @property
    def all_held(self) -> Seats:
        """All seats that are held for the order."""
        return added(self.held, *self.offers.values())

    def but(self, **changes: object) -> Registration:
        """Return the state with changes."""
        return msgspec.structs.replace(self, **changes)


class RegistrationProcess(ProcessManager[Registration]):
    """Sees each order through to its end."""

    name = "registration"
    initial = Registration()

    # --- seats ----------------------------------------------------------------------------------------

    @starts(OrderPlaced, key="order_id")
    def placed(self, event: OrderPlaced, state: Registration, moment: Moment) -> Iterator[Reaction]:
        if state.phase != "none":
            return
        order = state.but(
            order_id=event.order_id,
            conference_id=event.conference_id,
            expires_at=event.expires_at,
            wish=1,
            seats=event.seats,
        )
        if event.expires_at <= moment.now:
            yield Send(RejectOrder(event.order_id))
            yield Become(order.but(phase="expired"))
            yield Done()
        else:
            yield SetDeadline("payment", event.expires_at + GRACE)
            yield from _ask(order, event.seats)

    @continues(OrderUpdated, key="order_id")
    def updated(self, event: OrderUpdated, state: Registration, moment: Moment) -> Iterator[Reaction]:
        state = state.but(wish=state.wish + 1, seats=event.seats)
        if state.phase not in {"awaiting", "received", "paid"}:
            yield Become(state)  # it is about to expire
            return
        offered = added(*state.offers.values())
        if any(event.seats.get(type, 0) < quantity for type, quantity in offered.items()):
            for id in state.offers:
                yield Send(CancelReservation(state.conference_id, id))
            state, offered = state.but(offers={}), {}
        yield from _ask(state, without(event.seats, offered))

    @continues(SeatsReserved, key=order_of)
    def reserved(self, event: SeatsReserved, state: Registration, moment: Moment) -> Iterator[Reaction]:
        if (event.reservation_id, event.request) != (state.reservation_id, state.request):
            return  # it answers an earlier request
        state = state.but(held={type: quantity for type, quantity in event.held.items() if quantity})
        if state.phase == "awaiting":
            yield from _mark(state)
        elif state.phase == "reclaiming" and state.held == state.seats:
            yield from _reinstate(state, moment)
        elif state.phase == "reclaiming":
            yield from _give_up(state, "seats gone")

    @on_refusal(MakeReservation)
    def not_reserved(self, refusal: CommandTurnedDown, state: Registration, moment: Moment) -> Iterator[Reaction]:
        if state.phase == "reclaiming":
            yield from _give_up(state, "seats gone")
        elif state.phase == "awaiting":
            yield from _refund(state, "order not payable")
            yield from _expire(state.but(payment=None))

    # --- money ----------------------------------------------------------------------------------------

    @continues(PaymentCompleted, key="order_id", when_done=True)
    def paid(self, event: PaymentCompleted, state: Registration, moment: Moment) -> Iterator[Reaction]:
        payment = Paid(event.payment_id, event.amount)
        if payment == state.payment:
            return
        if state.payment is None and state.phase == "received":
            yield from _confirm(state.but(payment=payment))
        elif state.payment is None and state.phase in {"awaiting", "expiring"}:
            yield Become(state.but(payment=payment))  # it is settled with what comes next
        elif state.phase == "expired" and state.seats:
            yield from _reclaim(state.but(payment=payment))
        else:
            reason: Reason = "paid before" if state.payment else "order cancelled"
            yield from _refund(state.but(payment=payment), reason)
            yield from _still_over(state)

    @on_refusal(ConfirmOrder)
    def not_confirmed(self, refusal: CommandTurnedDown, state: Registration, moment: Moment) -> Iterator[Reaction]:
        if state.payment is None or refusal.data["payment_id"] != state.payment.payment_id:
            return
        yield from _refund(state, "not what it costs" if refusal.error == "WrongAmount" else "order not payable")
        yield SetDeadline("payment", max(moment.now, _time(state) + GRACE))
        yield Become(state.but(payment=None, phase="received" if state.phase == "paid" else state.phase))

    @continues(OrderConfirmed, key="order_id")
    def confirmed(self, event: OrderConfirmed, state: Registration, moment: Moment) -> Iterator[Reaction]:
        yield Send(CommitReservation(state.conference_id, state.reservation_id))
        has_offers = event.seats == state.all_held
        for id in state.offers:
            yield Send((CommitReservation if has_offers else CancelReservation)(state.conference_id, id))
        yield from _leave_waiting_lists(state)
        if state.payment is not None and state.payment.payment_id != event.payment_id:
            yield from _refund(state, "order not payable")  # it was confirmed by another one, or by none
            state = state.but(payment=None)
        yield Become(state.but(phase="confirmed", offers=state.offers if has_offers else {}))
        yield Done()

    # --- time -----------------------------------------------------------------------------------------

    @on_deadline("payment")
    def overdue(self, deadline: DeadlinePassed, state: Registration, moment: Moment) -> Iterator[Reaction]:
        if state.phase in {"awaiting", "received"} and state.payment is None:
            yield from _expire(state)

    @continues(OrderExpired, key="order_id")
    def expired(self, event: OrderExpired, state: Registration, moment: Moment) -> Iterator[Reaction]:
        if state.phase != "expiring":
            return
        if state.payment is not None and state.all_held == state.seats:
            yield from _reinstate(state, moment)
            return
        yield from _give_seats_back(state)
        if state.payment is not None:
            yield from _reclaim(state)
        else:
            yield Become(state.but(phase="expired", held={}, offers={}))
            yield Done()

    @continues(OrderReinstated, key="order_id")
    def reinstated(self, event: OrderReinstated, state: Registration, moment: Moment) -> Iterator[Reaction]:
        if state.phase == "reinstating":
            yield SetDeadline("payment", _time(state) + GRACE)
            yield from _mark(state)

    @on_refusal(ReinstateOrder)
    def not_reinstated(self, refusal: CommandTurnedDown, state: Registration, moment: Moment) -> Iterator[Reaction]:
        if state.phase == "reinstating":
            yield from _give_up(state, "order not payable")

    @on_refusal(RejectOrder, MarkAsReserved)
    def was_confirmed(self, refusal: CommandTurnedDown, state: Registration, moment: Moment) -> Iterator[Reaction]:
        yield from ()  # the order was confirmed meanwhile, and its event has been here before

    # --- cancelling -----------------------------------------------------------------------------------

    @continues(OrderCancelled, key="order_id", when_done=True)
    def cancelled(self, event: OrderCancelled, state: Registration, moment: Moment) -> Iterator[Reaction]:
        if state.phase == "cancelled":
            return
        if state.phase == "confirmed":
            for id in state.reservations:
                yield Send(ReleaseSeats(state.conference_id, id))
        else:
            yield from _give_seats_back(state)
        yield from _refund(state, "order cancelled")
        yield from _leave_waiting_lists(state)
        yield Become(state.but(phase="cancelled", held={}, offers={}))
        yield Done()

    # --- the waiting list -----------------------------------------------------------------------------

    @continues(WaitingListJoined, key="order_id", when_done=True)
    def joined(self, event: WaitingListJoined, state: Registration, moment: Moment) -> Iterator[Reaction]:
        if state.phase in {"confirmed", "cancelled"}:
            yield Send(LeaveWaitingList(event.conference_id, event.seat_type, event.order_id))
        else:
            yield Become(state.but(waits_for=tuple(dict.fromkeys([*state.waits_for, event.seat_type]))))
        yield from _still_over(state)

    @continues(OfferAccepted, key="order_id", when_done=True)
    def accepted(self, event: OfferAccepted, state: Registration, moment: Moment) -> Iterator[Reaction]:
        offers = {**state.offers, event.reservation_id: {event.seat_type: event.seats}}
        expires_at = moment.now + TIME_TO_PAY
        if state.phase == "expired":
            over = state.but(reservation=state.reservation + 1, held={}, offers=offers)
            yield from _reinstate(over.but(seats=over.all_held), moment)
        elif state.phase in {"awaiting", "received"} and state.payment is None:
            yield SetDeadline("payment", expires_at + GRACE)
            more = state.but(offers=offers, expires_at=expires_at)
            if state.phase == "received":
                yield from _mark(more)
            else:
                yield Become(more)
        else:
            yield Send(CancelReservation(event.conference_id, event.reservation_id))
            yield from _still_over(state)


# --- steps of several -------------------------------------------------------------------------------------


def _ask(state: Registration, wanted: Seats) -> Iterator[Reaction]:
    """Ask for seats under the order's reservation; the number of the request tells its answer from earlier ones."""
    request = state.request + 1
    phase = state.phase if state.phase == "reclaiming" else "awaiting"
    yield Send(MakeReservation(state.conference_id, state.reservation_id, wanted, request))
    yield Become(state.but(phase=phase, request=request))


def _mark(state: Registration) -> Iterator[Reaction]:
    """Tell the order what is held for it; confirm it, if it is paid."""
    state = state.but(phase="received", seats=state.all_held)
    yield Send(MarkAsReserved(state.order_id, state.seats, _time(state), state.wish))
    if state.payment is None:
        yield Become(state)
    else:
        yield from _confirm(state)


def _confirm(state: Registration) -> Iterator[Reaction]:
    assert state.payment is not None
    yield Send(ConfirmOrder(state.order_id, state.payment.payment_id, state.payment.amount))
    yield Become(state.but(phase="paid"))


def _expire(state: Registration) -> Iterator[Reaction]:
    yield Send(RejectOrder(state.order_id))
    yield Become(state.but(phase="expiring"))


def _reclaim(state: Registration) -> Iterator[Reaction]:
    """Try to have the seats of an expired order again, under a new reservation: the old one does not come alive again."""
    again = state.but(phase="reclaiming", reservation=state.reservation + 1, held={}, offers={})
    yield from _ask(again, again.seats)


def _reinstate(state: Registration, moment: Moment) -> Iterator[Reaction]:
    yield Send(ReinstateOrder(state.order_id))
    yield Become(state.but(phase="reinstating", expires_at=moment.now + TIME_TO_PAY))


def _give_up(state: Registration, reason: Reason) -> Iterator[Reaction]:
    """Leave an expired order expired: seats and money go back."""
    yield from _give_seats_back(state)
    yield from _refund(state, reason)
    yield Become(state.but(phase="expired", payment=None, held={}, offers={}))
    yield Done()


def _give_seats_back(state: Registration) -> Iterator[Reaction]:
    for id in state.reservations:
        yield Send(CancelReservation(state.conference_id, id))


def _refund(state: Registration, reason: Reason) -> Iterator[Reaction]:
    if state.payment is not None:
        yield Send(RefundPayment(state.payment.payment_id, reason))


def _leave_waiting_lists(state: Registration) -> Iterator[Reaction]:
    for seat_type in state.waits_for:
        yield Send(LeaveWaitingList(state.conference_id, seat_type, state.order_id))


def _still_over(state: Registration) -> Iterator[Reaction]:
    """Be done again, if the process was."""
    if state.phase in {"confirmed", "expired", "cancelled"}:
        yield Done()


def _time(state: Registration) -> datetime:
    assert state.expires_at is not None
    return state.expires_at


def added(*several: Seats) -> Seats:
    """Return all of these seats."""
    types = dict.fromkeys(type for seats in several for type in seats)
    return {type: sum(seats.get(type, 0) for seats in several) for type in types}


def without(seats: Seats, others: Seats) -> Seats:
    """Return seats without others."""
    left = {type: quantity - others.get(type, 0) for type, quantity in seats.items()}
    return {type: quantity for type, quantity in left.items() if quantity > 0}

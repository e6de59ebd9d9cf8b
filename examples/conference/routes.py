"""Where each command goes: to the decider of its entity and the stream it is about, or to a function outside the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from examples.conference.assignments import (
    AssignmentCommand,
    CreateSeatAssignments,
    SeatAssignments,
    WithdrawSeatAssignments,
    assignments_stream,
)
from examples.conference.management import (
    AddSeatType,
    Conference,
    DropSeatType,
    PublishConference,
    UnpublishConference,
    UpdateConference,
    UpdateSeatType,
    conference_stream,
)
from examples.conference.orders import (
    ConfirmOrder,
    MarkAsReserved,
    Order,
    OrderCommand,
    ReinstateOrder,
    RejectOrder,
    order_stream,
)
from examples.conference.payments import (
    CompletePayment,
    Payment,
    PaymentCommand,
    RefundPayment,
    RejectPayment,
    payment_stream,
)
from examples.conference.provider import Charge, GiveBack, SimulatedProvider
from examples.conference.seats import SeatsAvailability, SeatsCommand, seats_stream
from examples.conference.waiting import ExpireOffer, OfferSeats, WaitingCommand, WaitingList, waiting_stream
from sacho import Envelope, call, route
from sacho.deciding import Route

ORGANISING: Final = (
    UpdateConference,
    PublishConference,
    UnpublishConference,
    AddSeatType,
    UpdateSeatType,
    DropSeatType,
)
NOT_FOR_CALLERS: Final = (
    SeatsCommand,
    MarkAsReserved,
    RejectOrder,
    ReinstateOrder,
    CompletePayment,
    RejectPayment,
    RefundPayment,
    CreateSeatAssignments,
    WithdrawSeatAssignments,
    OfferSeats,
    ExpireOffer,
    Charge,
    GiveBack,
)
"""Commands of processes, and of the payment provider."""


def routes(provider: SimulatedProvider) -> Sequence[Route]:
    """Return the routes of all commands but CreateConference, which needs the store itself."""
    return (
        route(Conference(), ORGANISING, stream=lambda command: conference_stream(command.conference_id)),
        route(SeatsAvailability(), SeatsCommand, stream=lambda command: seats_stream(command.conference_id)),
        route(Order(), OrderCommand, stream=lambda command: order_stream(command.order_id)),
        route(Payment(), PaymentCommand, stream=lambda command: payment_stream(command.payment_id)),
        route(SeatAssignments(), AssignmentCommand, stream=lambda command: assignments_stream(command.order_id)),
        route(
            WaitingList(),
            WaitingCommand,
            stream=lambda command: waiting_stream(command.conference_id, command.seat_type),
        ),
        call(provider.charge, Charge),
        call(provider.give_back, GiveBack),
    )


def authorise(envelope: Envelope) -> bool:
    """Tell whether a command may come from where it came: callers confirm free orders only, and leave to processes what is theirs."""
    command = envelope.command
    if envelope.origin != "caller":
        return True
    return not isinstance(command, NOT_FOR_CALLERS) and not (
        isinstance(command, ConfirmOrder) and command.payment_id is not None
    )

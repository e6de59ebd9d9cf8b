"""Payment: one try to pay an order. Initiated, then completed or rejected, once; what was completed may be refunded, once.

One entity for each payment, stream `payment-<payment id>`. An order may see several: one that was rejected, and another.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import msgspec

from examples.conference.rules import check_price
from sacho import CommandRefused, Decider, Event, stream_id

HIGHEST_AMOUNT: Final = 10_000_000
Phase: TypeAlias = Literal["none", "initiated", "completed", "rejected", "refunded"]
Reason: TypeAlias = Literal["order cancelled", "seats gone", "paid before", "not what it costs", "order not payable"]


def payment_stream(payment_id: str) -> str:
    """Return the stream of a payment."""
    return stream_id("payment", payment_id)


# --- events -------------------------------------------------------------------------------------------


class PaymentInitiated(Event, tags=("order:{order_id}",)):
    """The registrant is about to pay."""

    payment_id: str
    order_id: str
    amount: Decimal


class PaymentCompleted(Event, tags=("order:{order_id}",)):
    """The money came."""

    payment_id: str
    order_id: str
    amount: Decimal


class PaymentRejected(Event, tags=("order:{order_id}",)):
    """No money came, and none will."""

    payment_id: str
    order_id: str


class PaymentRefunded(Event, tags=("order:{order_id}",)):
    """The money goes back."""

    payment_id: str
    order_id: str
    amount: Decimal
    reason: Reason


PaymentEvent: TypeAlias = PaymentInitiated | PaymentCompleted | PaymentRejected | PaymentRefunded

# --- commands -----------------------------------------------------------------------------------------


class InitiatePayment(msgspec.Struct, frozen=True):
    """Begin to pay an order."""

    payment_id: str
    order_id: str
    amount: Decimal


class CompletePayment(msgspec.Struct, frozen=True):
    """Say that the money came."""

    payment_id: str


class RejectPayment(msgspec.Struct, frozen=True):
    """Say that no money comes."""

    payment_id: str


class RefundPayment(msgspec.Struct, frozen=True):
    """Give the money back; a second time changes nothing."""

    payment_id: str
    reason: Reason


PaymentCommand: TypeAlias = InitiatePayment | CompletePayment | RejectPayment | RefundPayment

# --- refusals -----------------------------------------------------------------------------------------


class PaymentIs(CommandRefused):
    """The payment is not where this can be done. Carries `payment_id`, `phase`."""

    def __init__(self, payment_id: str, phase: Phase, wish: str) -> None:
        self.payment_id = payment_id
        self.phase = phase
        is_what = "not there" if phase == "none" else f"{phase} already" if phase != "initiated" else phase
        super().__init__(f"payment {payment_id!r} is {is_what} and cannot be {wish}")


# --- state --------------------------------------------------------------------------------------------


class PaymentState(msgspec.Struct, frozen=True):
    """Where the payment stands."""

    phase: Phase = "none"
    order_id: str = ""
    amount: Decimal = Decimal(0)


class Payment(Decider[PaymentCommand, PaymentState, PaymentEvent]):
    """Decides what becomes of a payment. Money moves once, whatever comes twice."""

    initial = PaymentState()

    def decide(self, command: PaymentCommand, state: PaymentState) -> Iterator[PaymentEvent]:
        id, phase = command.payment_id, state.phase
        match command:
            case InitiatePayment(_, order_id, amount) if phase == "none":
                check_price("amount", amount, most=HIGHEST_AMOUNT)
                yield PaymentInitiated(id, order_id, amount)
            case CompletePayment() if phase == "initiated":
                yield PaymentCompleted(id, state.order_id, state.amount)
            case RejectPayment() if phase == "initiated":
                yield PaymentRejected(id, state.order_id)
            case RefundPayment(_, reason) if phase == "completed":
                yield PaymentRefunded(id, state.order_id, state.amount, reason)
            case RefundPayment() if phase == "refunded":
                return
            case _:
                raise PaymentIs(id, phase, _WISHES[type(command)])

    def evolve(self, state: PaymentState, event: PaymentEvent) -> PaymentState:
        match event:
            case PaymentInitiated(_, order_id, amount):
                return PaymentState("initiated", order_id, amount)
            case PaymentCompleted():
                return msgspec.structs.replace(state, phase="completed")
            case PaymentRejected():
                return msgspec.structs.replace(state, phase="rejected")
            case PaymentRefunded():
                return msgspec.structs.replace(state, phase="refunded")


_WISHES: Final[dict[type, str]] = {
    InitiatePayment: "initiated",
    CompletePayment: "completed",
    RejectPayment: "rejected",
    RefundPayment: "refunded",
}

"""What leaves the application: the public events, each a promise to others. Domain events behind them may change; these do not."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

from sacho.reacting import PublicEvent


class RegistrantAssigned(PublicEvent, type="conference.registrant-assigned"):
    """Somebody said who they are: to whom is written about an order."""

    order_id: str
    conference_id: str
    first_name: str
    last_name: str
    email: str


class OrderConfirmed(PublicEvent, type="conference.order-confirmed"):
    """An order is final: who bought what for how much."""

    order_id: str
    conference_id: str
    first_name: str
    last_name: str
    email: str
    seats: dict[str, int]
    total: Decimal
    access_code: str


class OrderCancelled(PublicEvent, type="conference.order-cancelled"):
    """An order will not be, or is no more."""

    order_id: str
    conference_id: str
    reason: Literal["by the registrant", "not paid in time"]


class PaymentReceived(PublicEvent, type="conference.payment-received"):
    """Money came."""

    payment_id: str
    order_id: str
    amount: Decimal


class PaymentRefunded(PublicEvent, type="conference.payment-refunded"):
    """Money goes back."""

    payment_id: str
    order_id: str
    amount: Decimal
    reason: str


class SoldOut(PublicEvent, type="conference.sold-out"):
    """The last seat of a type was taken. It may happen again after seats came back."""

    conference_id: str
    seat_type: str


class SeatsOffered(PublicEvent, type="conference.seats-offered"):
    """Seats are kept for somebody who waits, until the offer expires."""

    order_id: str
    conference_id: str
    seat_type: str
    seats: int
    expires_at: datetime

"""What neighbours hear: the public events, declared as they read them. What they do not need, they leave out."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sacho import Event


class RegistrantAssigned(Event, type="conference.registrant-assigned"):
    """To whom is written about an order."""

    order_id: str
    first_name: str
    email: str


class OrderConfirmed(Event, type="conference.order-confirmed"):
    """Somebody bought seats."""

    order_id: str
    first_name: str
    email: str
    seats: dict[str, int]
    total: Decimal
    access_code: str


class OrderCancelled(Event, type="conference.order-cancelled"):
    """An order is no more."""

    order_id: str
    reason: str


class PaymentReceived(Event, type="conference.payment-received"):
    """Money came."""

    payment_id: str
    order_id: str
    amount: Decimal


class PaymentRefunded(Event, type="conference.payment-refunded"):
    """Money goes back."""

    payment_id: str
    order_id: str
    amount: Decimal
    reason: str


class SoldOut(Event, type="conference.sold-out"):
    """The last seat of a type was taken."""

    conference_id: str
    seat_type: str


class SeatsOffered(Event, type="conference.seats-offered"):
    """Seats are kept for somebody who waits."""

    order_id: str
    seat_type: str
    seats: int
    expires_at: datetime

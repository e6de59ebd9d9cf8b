"""Notices: writes to people. At least once: a letter has the id of its event, so that one that is written again is the same."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from examples.conference.neighbours.heard import (
    OrderCancelled,
    OrderConfirmed,
    PaymentRefunded,
    RegistrantAssigned,
    SeatsOffered,
)
from sacho.reacting import Consumer, Delivery, handles

SENDER: Final = "conference@example.org"
SMTP_SECONDS: Final = 30.0


class Postbox(Protocol):
    """Where letters are posted."""

    def post(self, letter: EmailMessage, id: UUID) -> None:
        """Post a letter; the same id again is the same letter."""


class Folder:
    """A folder in which each letter is a file, named by its id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def post(self, letter: EmailMessage, id: UUID) -> None:
        """Write the file whole, or not at all."""
        draft = self.folder / f"{id}.draft"
        draft.write_bytes(bytes(letter))
        draft.replace(self.folder / f"{id}.eml")


class Smtp:
    """A mail server. It may get a letter twice, after a crash; the Message-ID tells."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def post(self, letter: EmailMessage, id: UUID) -> None:
        """Hand the letter to the server."""
        with smtplib.SMTP(self.host, self.port, timeout=SMTP_SECONDS) as server:
            server.send_message(letter)


class Notices(Consumer):
    """Tells registrants what concerns them. It keeps their addresses itself, in a folder, as it heard them."""

    independent_keys = True

    def __init__(self, addresses: Path, postbox: Postbox) -> None:
        self.addresses = addresses
        self.postbox = postbox
        addresses.mkdir(parents=True, exist_ok=True)

    @handles(RegistrantAssigned)
    def registrant(self, event: RegistrantAssigned, delivery: Delivery) -> None:
        self._card(event.order_id).write_text(event.email, encoding="utf-8")

    @handles(OrderConfirmed)
    def confirmed(self, event: OrderConfirmed, delivery: Delivery) -> None:
        seats = "\n".join(f"  {quantity} × {seat_type}" for seat_type, quantity in event.seats.items())
        self._write(
            event.order_id,
            "Your order is confirmed",
            f"Dear {event.first_name},\n\nyou have\n{seats}\nfor {event.total}. "
            f"Your access code is {event.access_code}.\n",
            delivery,
        )

    @handles(OrderCancelled)
    def cancelled(self, event: OrderCancelled, delivery: Delivery) -> None:
        self._write(event.order_id, "Your order is cancelled", f"It was cancelled: {event.reason}.\n", delivery)

    @handles(PaymentRefunded)
    def refunded(self, event: PaymentRefunded, delivery: Delivery) -> None:
        text = f"{event.amount} go back to you: {event.reason}.\n"
        self._write(event.order_id, "Your money goes back", text, delivery)

    @handles(SeatsOffered)
    def offered(self, event: SeatsOffered, delivery: Delivery) -> None:
        text = f"{event.seats} × {event.seat_type} are kept for you until {event.expires_at:%Y-%m-%d %H:%M} UTC.\n"
        self._write(event.order_id, "Seats for you", text, delivery)

    def _write(self, order_id: str, subject: str, text: str, delivery: Delivery) -> None:
        """Write to the registrant of an order; of one who never said who they are, there is nobody to write to."""
        card = self._card(order_id)
        if not card.exists():
            return
        letter = EmailMessage()
        letter["From"] = SENDER
        letter["To"] = card.read_text(encoding="utf-8")
        letter["Subject"] = subject
        letter["Message-ID"] = f"<{delivery.message_id}@example.org>"
        letter["X-Order"] = order_id
        letter.set_content(text)
        self.postbox.post(letter, delivery.message_id)

    def _card(self, order_id: str) -> Path:
        """Return where the address for an order is kept. Whatever an order's id is, this is a name of a file."""
        return self.addresses / sha256(order_id.encode()).hexdigest()

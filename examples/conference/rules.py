"""What several entities ask of the values they are given. A refusal names the field, so that a page can show it there."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from sacho import CommandRefused

CENT: Final = Decimal("0.01")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")


class InvalidField(CommandRefused):
    """A field of a command has a value that cannot be meant. Carries `field` and `reason`."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(f"{field} {reason}")


def check_text(field: str, text: str, *, least: int = 1, most: int = 1_000) -> None:
    """Raise InvalidField for a text that is missing, too short or too long."""
    length = len(text.strip())
    if least and not length:
        raise InvalidField(field, "is required")
    if not least <= length <= most:
        raise InvalidField(field, f"has {length} characters, not {least} to {most}")


def check_email(field: str, email: str) -> None:
    """Raise InvalidField for a text that is no e-mail address."""
    check_text(field, email, most=254)
    if not _EMAIL.fullmatch(email):
        raise InvalidField(field, f"{email!r} is no e-mail address")


def check_number(field: str, number: int, *, least: int, most: int) -> None:
    """Raise InvalidField for what is no whole number within bounds."""
    if type(number) is not int or not least <= number <= most:
        raise InvalidField(field, f"{number!r} is no whole number from {least:,} to {most:,}")


def check_price(field: str, price: Decimal, *, most: int) -> None:
    """Raise InvalidField for what is no price: a decimal number (never a binary float) of whole cents."""
    if type(price) is not Decimal or not price.is_finite() or not 0 <= price <= most or price != rounded(price):
        raise InvalidField(field, f"{price!r} is no price from 0 to {most:,} with two decimal places")


def rounded(amount: Decimal) -> Decimal:
    """Return an amount of money with two places, a half cent to the even one."""
    return amount.quantize(CENT, ROUND_HALF_EVEN)


def same_email(one: str, other: str) -> bool:
    """Tell whether two e-mail addresses are the same, case aside."""
    return one.strip().casefold() == other.strip().casefold()

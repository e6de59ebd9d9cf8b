"""What is recorded, on every side: a reservation whose fields take 200 bytes as JSON. Knows no event store."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

PAYLOAD_BYTES: Final = 200
SEAT_TYPE: Final = "GA"
SEATS_PER_RESERVATION: Final = 2
STREAMS: Final = 20
"""Over how many streams one caller's appends go round."""


class Reservation(NamedTuple):
    """The fields of one event, in order, before any side has made its own typed event of them."""

    conference_id: str
    reservation_id: str
    seat_type: str
    seats: int
    note: str


def _padding() -> str:
    bare = Reservation(conference_id(0), reservation_id(0), SEAT_TYPE, SEATS_PER_RESERVATION, "")
    return "x" * (PAYLOAD_BYTES - len(json.dumps(bare._asdict(), separators=(",", ":"))))


def conference_id(number: int) -> str:
    """Return the id of a conference, always of the same length."""
    return f"{number:06d}"


def reservation_id(number: int) -> str:
    """Return the id of a reservation, always of the same length."""
    return f"{number:08d}"


NOTE: Final = _padding()


def reservation(conference: int, number: int) -> Reservation:
    """Return the fields of one event: 200 bytes of JSON, whatever the numbers."""
    return Reservation(conference_id(conference), reservation_id(number), SEAT_TYPE, SEATS_PER_RESERVATION, NOTE)


def reservations(conference: int, numbers: Iterable[int]) -> list[Reservation]:
    """Return the fields of events of one conference, ready before a clock starts: formatting them is nobody's work."""
    return [reservation(conference, number) for number in numbers]


def going_round(appends: int, events: int) -> list[list[Reservation]]:
    """Return the fields of so many appends of so many events each: append n goes to conference n % STREAMS."""
    return [
        reservations(number % STREAMS, range(number * events, number * events + events)) for number in range(appends)
    ]

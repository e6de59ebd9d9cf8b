"""The events of these tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sacho import Event, RecordedEvent, Registry


class Reserved(Event, type="seat-reserved", tags=("seat:{seat}", "guest:{guest}"), register=False):
    """A seat was taken."""

    seat: int
    guest: str | None = None


class Released(Event, type="seat-released", tags=("seat:{seat}",), register=False):
    """A seat was given back."""

    seat: int


REGISTRY = Registry(Reserved, Released)


def events(reading: Iterable[RecordedEvent]) -> list[Any]:
    """Return the events alone."""
    return [recorded.event for recorded in reading]


def seats(reading: Iterable[RecordedEvent]) -> list[int]:
    """Return the seats that the events are about."""
    return [recorded.event.seat for recorded in reading]


def reserved(count: int) -> list[Reserved]:
    """Return so many events, from seat 1 on."""
    return [Reserved(seat) for seat in range(1, count + 1)]

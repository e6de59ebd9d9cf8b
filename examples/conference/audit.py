"""An audit of a conference's seats: counts who holds what from the events, without the decider and its state."""

from __future__ import annotations

from collections import Counter

from examples.conference.seats import (
    AvailableSeatsChanged,
    ReservationCancelled,
    Seats,
    SeatsReleased,
    SeatsReserved,
)
from sacho import RecordedEvent


class Audit:
    """Takes events in order; `faults` says where more seats were held than were on sale."""

    def __init__(self) -> None:
        self.events = 0
        self.on_sale: Seats = {}
        self.deltas: Counter[str] = Counter()
        self.first_held: dict[str, Seats] = {}
        self.holders: dict[str, Seats] = {}
        self.given_back = 0
        self.faults: list[str] = []

    def take(self, recorded: RecordedEvent) -> None:
        """Count one event in."""
        self.events += 1
        self.deltas.update(getattr(recorded.event, "deltas", {}))
        match recorded.event:
            case AvailableSeatsChanged(_, deltas):
                for seat_type, delta in deltas.items():
                    self.on_sale[seat_type] = self.on_sale.get(seat_type, 0) + delta
            case SeatsReserved(_, reservation_id, held, _):
                self.first_held.setdefault(reservation_id, held)
                self.holders[reservation_id] = held
            case ReservationCancelled(_, reservation_id) | SeatsReleased(_, reservation_id):
                if self.holders.pop(reservation_id, None) is None:
                    self.faults.append(f"{reservation_id} gave back what it did not hold at version {recorded.version}")
                self.given_back += 1
        for seat_type, quantity in self.held().items():
            if quantity > self.on_sale.get(seat_type, 0):
                self.faults.append(f"{quantity} {seat_type} seats are held after version {recorded.version}")

    def held(self) -> Seats:
        """Return how many seats of each type are held by anybody."""
        total: Counter[str] = Counter()
        for seats in self.holders.values():
            total.update(seats)
        return {seat_type: total[seat_type] for seat_type in self.on_sale}

    def compare(self, remaining: Seats, registrants: int) -> list[str]:
        """Return where the fold says something else than the count, or somebody was not answered."""
        held = self.held()
        counts = [
            (seat_type, remaining.get(seat_type), quantity - held[seat_type], self.deltas[seat_type])
            for seat_type, quantity in self.on_sale.items()
        ]
        faults = [
            f"{seat_type} seats: {folded} remain by the fold, {counted} by what is held, {summed} by the deltas"
            for seat_type, folded, counted, summed in counts
            if not folded == counted == summed or folded < 0
        ]
        if len(self.first_held) != registrants:
            faults.append(f"{len(self.first_held)} of {registrants} registrants were answered")
        return faults

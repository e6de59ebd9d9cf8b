"""The pattern's own walk: two seats are booked, then the booking is cancelled, each step in sight."""

from __future__ import annotations

from typing import Any

import sacho
from examples.conference.seats import (
    AvailableSeatsChanged,
    CancelReservation,
    MakeReservation,
    ReservationCancelled,
    Seats,
    SeatsReserved,
    seats_stream,
)
from sacho import Aggregate, AggregateDecider, CommandHandler, EventStore


class ConferenceSeats(Aggregate):
    """The seats of a conference as an object that writes down what it does."""

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps
        self.remaining: Seats = {}
        self.pending: dict[str, Seats] = {}

    def execute(self, command: Any) -> None:
        match command:
            case MakeReservation(conference_id, reservation_id, wanted):
                self.make_reservation(conference_id, reservation_id, dict(wanted))
            case CancelReservation(conference_id, reservation_id):
                self.cancel_reservation(conference_id, reservation_id)

    def make_reservation(self, conference_id: str, reservation_id: str, wanted: Seats) -> None:
        self.steps.append("method make_reservation")
        held = {seat_type: min(wanted[seat_type], self.remaining[seat_type]) for seat_type in wanted}
        taken = {seat_type: -quantity for seat_type, quantity in held.items()}
        self.record(SeatsReserved(conference_id, reservation_id, held, taken))

    def cancel_reservation(self, conference_id: str, reservation_id: str) -> None:
        self.steps.append("method cancel_reservation")
        self.record(ReservationCancelled(conference_id, reservation_id, self.pending[reservation_id]))

    def record(self, event: Any) -> None:
        self.steps.append(f"record {type(event).__name__}")
        super().record(event)

    def apply(self, event: Any) -> None:
        self.steps.append(f"apply {type(event).__name__}")
        for seat_type, delta in event.deltas.items():
            self.remaining[seat_type] = self.remaining.get(seat_type, 0) + delta
        if isinstance(event, SeatsReserved):
            self.pending[event.reservation_id] = event.held
        elif isinstance(event, ReservationCancelled):
            del self.pending[event.reservation_id]


def test_two_seats_are_booked_and_the_booking_is_cancelled() -> None:
    steps: list[str] = []
    stream = seats_stream("c1")
    with sacho.connect("memory://") as store:
        store.append(stream, [AvailableSeatsChanged("c1", {"GA": 10})], expected=sacho.NO_STREAM)
        # A new handler for each command, so that the aggregate comes from its events and not from the cache.
        handler = CommandHandler(store, AggregateDecider(lambda: ConferenceSeats(steps)))

        # 1. The command reaches the handler, which folds the aggregate from its events and calls its method; the
        #    event is recorded and applied at once, then appended behind the version that was read.
        booked = handler.handle(stream, MakeReservation("c1", "r1", {"GA": 2}), command_id="book")
        assert steps == [
            "apply AvailableSeatsChanged",
            "method make_reservation",
            "record SeatsReserved",
            "apply SeatsReserved",
        ]
        assert booked.events == (SeatsReserved("c1", "r1", {"GA": 2}, {"GA": -2}),)
        assert booked.version == 2
        assert log_of(store, stream) == [(1, "AvailableSeatsChanged", None), (2, "SeatsReserved", "book")]

        # 2. The state is what the events say: folded anew, and as it was before.
        assert handler.load(stream).state.remaining == {"GA": 8}
        assert handler.load(stream, to=1).state.remaining == {"GA": 10}

        # 3. The cancellation goes the same way. Nothing is taken out of the log: an opposite event is added.
        steps.clear()
        handler = CommandHandler(store, AggregateDecider(lambda: ConferenceSeats(steps)))
        cancelled = handler.handle(stream, CancelReservation("c1", "r1"), command_id="cancel")
        assert steps == [
            "apply AvailableSeatsChanged",
            "apply SeatsReserved",
            "method cancel_reservation",
            "record ReservationCancelled",
            "apply ReservationCancelled",
        ]
        assert cancelled.events == (ReservationCancelled("c1", "r1", {"GA": 2}),)
        assert log_of(store, stream) == [
            (1, "AvailableSeatsChanged", None),
            (2, "SeatsReserved", "book"),
            (3, "ReservationCancelled", "cancel"),
        ]
        assert handler.load(stream).state.remaining == {"GA": 10}
        assert handler.load(stream, to=2).state.remaining == {"GA": 8}


def log_of(store: EventStore, stream: str) -> list[tuple[int | None, str, str | None]]:
    return [(one.version, one.type, one.metadata.get("causation_id")) for one in store.read(stream)]

"""The bridge from conference management to booking: what the organiser says of seat types becomes seats. One per conference."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from examples.conference.management import SeatTypeAdded, SeatTypeUpdated
from examples.conference.seats import AddSeats, OpenSeatType, RemoveSeats
from sacho.reacting import Become, Moment, ProcessManager, Reaction, Send, starts


class Quantities(msgspec.Struct, frozen=True):
    """How many seats of each type booking was told of."""

    of: dict[str, int] = {}


class Bridge(ProcessManager[Quantities]):
    """Tells booking of seats: all of a new type, the difference of one that changed. A conference's bridge has no end."""

    initial = Quantities()

    @starts(SeatTypeAdded, SeatTypeUpdated, key="conference_id")
    def changed(self, event: SeatTypeAdded | SeatTypeUpdated, state: Quantities, moment: Moment) -> Iterator[Reaction]:
        conference_id, seat_type = event.conference_id, event.seat_type
        more = event.quantity - state.of.get(seat_type, 0)
        if more > 0:
            yield Send(AddSeats(conference_id, seat_type, more))
        elif more < 0:
            yield Send(RemoveSeats(conference_id, seat_type, -more))
        elif seat_type not in state.of:
            yield Send(OpenSeatType(conference_id, seat_type))
        if more or seat_type not in state.of:
            yield Become(Quantities({**state.of, seat_type: event.quantity}))

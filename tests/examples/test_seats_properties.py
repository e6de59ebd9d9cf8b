"""Whatever commands come in whatever order, no reservation gets a seat that is not there, and the deltas add up."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import sacho
from examples.conference.audit import Audit
from examples.conference.seats import (
    AddSeats,
    AvailableSeatsChanged,
    CancelReservation,
    CommitReservation,
    MakeReservation,
    ReleaseSeats,
    RemoveSeats,
    SeatsAvailability,
    SeatsReserved,
    SeatsState,
    UnknownSeatType,
    seats_stream,
)
from sacho import CommandHandler, CommandRefused

TYPES = ("GA", "WS", "CP")
ids = st.sampled_from(["r1", "r2", "r3", "r4"])
types = st.sampled_from(TYPES)
reservations = st.builds(MakeReservation, st.just("c1"), ids, st.dictionaries(types, st.integers(0, 12)))
endings = st.one_of(
    st.builds(CommitReservation, st.just("c1"), ids),
    st.builds(CancelReservation, st.just("c1"), ids),
    st.builds(ReleaseSeats, st.just("c1"), ids),
)
additions = st.builds(AddSeats, st.just("c1"), types, st.integers(1, 10))
removals = st.builds(RemoveSeats, st.just("c1"), types, st.integers(1, 10))


class Ledger:
    """Decides commands one by one and counts what comes of them, without looking into the state to do so."""

    def __init__(self) -> None:
        self.decider = SeatsAvailability()
        self.state: SeatsState = self.decider.initial
        self.deltas: Counter[str] = Counter()
        self.on_sale: Counter[str] = Counter()
        self.holders: dict[str, dict[str, int]] = {}

    def take(self, command: Any) -> list[Any]:
        try:
            events = list(self.decider.decide(command, self.state))
        except UnknownSeatType:
            return []
        for event in events:
            self.deltas.update(getattr(event, "deltas", {}))
            match event:
                case AvailableSeatsChanged(_, deltas):
                    self.on_sale.update(deltas)
                case SeatsReserved(_, reservation_id, held, _):
                    self.holders[reservation_id] = held
                case _ if hasattr(event, "deltas"):
                    del self.holders[event.reservation_id]
        self.state = self.decider.fold(self.state, events)
        return events

    def held(self, seat_type: str) -> int:
        return sum(held.get(seat_type, 0) for held in self.holders.values())


@given(st.lists(st.one_of(reservations, endings, additions), max_size=40))
def test_no_seat_is_held_twice(commands: list[Any]) -> None:
    ledger = Ledger()
    for command in commands:
        ledger.take(command)
        for seat_type, on_sale in ledger.on_sale.items():
            assert 0 <= ledger.held(seat_type) <= on_sale
            assert ledger.state.remaining[seat_type] == on_sale - ledger.held(seat_type)


@given(st.lists(st.one_of(reservations, endings, additions, removals), max_size=40))
def test_only_the_organiser_oversells(commands: list[Any]) -> None:
    ledger = Ledger()
    for command in commands:
        before = Counter(ledger.deltas)
        for event in ledger.take(command):
            for seat_type, delta in getattr(event, "deltas", {}).items():
                if delta < 0 and not isinstance(command, RemoveSeats):
                    assert before[seat_type] + delta >= 0, "a reservation took what was not there"
        assert {seat_type: ledger.deltas[seat_type] for seat_type in ledger.on_sale} == ledger.state.remaining
        for seat_type, on_sale in ledger.on_sale.items():
            assert ledger.state.remaining[seat_type] == on_sale - ledger.held(seat_type)


@given(
    st.lists(st.one_of(reservations, endings, additions, removals), max_size=20),
    st.one_of(reservations, endings),
)
def test_a_repeated_command_changes_nothing(commands: list[Any], command: Any) -> None:
    ledger = Ledger()
    for earlier in commands:
        ledger.take(earlier)
    ledger.take(command)
    assert ledger.take(command) == []


@given(st.lists(st.one_of(reservations, endings, additions, removals), max_size=25))
def test_the_log_tells_the_same_as_the_decisions(commands: list[Any]) -> None:
    ledger, audit = Ledger(), Audit()
    with sacho.connect("memory://") as store:
        handler = CommandHandler(store, SeatsAvailability())
        for command in commands:
            expected = ledger.take(command)
            try:
                assert list(handler.handle(seats_stream("c1"), command).events) == expected
            except CommandRefused:
                assert expected == []
        assert handler.load(seats_stream("c1")).state == ledger.state
        for recorded in store.read(seats_stream("c1")):
            audit.take(recorded)
    assert audit.deltas == ledger.deltas
    assert audit.holders == ledger.holders

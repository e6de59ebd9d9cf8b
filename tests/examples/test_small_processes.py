"""The bridge, seating, money and the waiting process, each by its rules; and the simulated payment provider."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from examples.conference.assignments import CreateSeatAssignments, WithdrawSeatAssignments
from examples.conference.bridge import Bridge
from examples.conference.management import SeatTypeAdded, SeatTypeUpdated
from examples.conference.money import Money
from examples.conference.orders import OrderCancelled, OrderConfirmed
from examples.conference.payments import CompletePayment, PaymentInitiated, PaymentRefunded, RejectPayment
from examples.conference.provider import (
    BEHAVIOURS,
    Behaviour,
    Charge,
    GiveBack,
    Notice,
    SimulatedProvider,
    command_of,
)
from examples.conference.seating import Seating
from examples.conference.seats import (
    AddSeats,
    AvailableSeatsChanged,
    CancelReservation,
    MakeReservation,
    OpenSeatType,
    RemoveSeats,
    ReservationCancelled,
    SeatsReleased,
    SeatsReserved,
)
from examples.conference.waiting import (
    DoesNotWait,
    ExpireOffer,
    OfferAccepted,
    OfferSeats,
    OfferWithdrawn,
    SeatsOffered,
    WaitingListJoined,
    WaitingListLeft,
)
from examples.conference.waiting_process import WaitingProcess
from sacho import Envelope
from sacho.reacting import Send
from sacho.testing import given_process

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=30)
TOTAL = Decimal("249.00")

# --- the bridge ---------------------------------------------------------------------------------------

bridge = given_process(Bridge(), now=NOW)


def added(seat_type: str, quantity: int) -> SeatTypeAdded:
    return SeatTypeAdded("c1", seat_type, "General", "", quantity, Decimal(199))


def updated(seat_type: str, quantity: int) -> SeatTypeUpdated:
    return SeatTypeUpdated("c1", seat_type, "General", "", quantity, Decimal(199))


def test_a_new_seat_type_adds_its_seats_and_a_changed_one_the_difference() -> None:
    bridge().when(added("GA", 100)).then_sends(AddSeats("c1", "GA", 100))
    bridge(added("GA", 100)).when(added("WS", 20)).then_sends(AddSeats("c1", "WS", 20))
    bridge(added("GA", 100)).when(updated("GA", 120)).then_sends(AddSeats("c1", "GA", 20))
    bridge(added("GA", 100), updated("GA", 120)).when(updated("GA", 90)).then_sends(RemoveSeats("c1", "GA", 30))
    bridge(added("GA", 100)).when(updated("GA", 0)).then_sends(RemoveSeats("c1", "GA", 100))


def test_a_quantity_of_zero_is_no_error_and_the_type_is_known() -> None:
    bridge().when(added("GA", 0)).then_sends(OpenSeatType("c1", "GA"))
    bridge(added("GA", 0)).when(updated("GA", 5)).then_sends(AddSeats("c1", "GA", 5))
    bridge(added("GA", 0)).when(updated("GA", 0)).then_nothing()


def test_a_change_of_price_only_is_nothing_to_booking() -> None:
    bridge(added("GA", 100)).when(updated("GA", 100)).then_nothing()


# --- seating ------------------------------------------------------------------------------------------

seating = given_process(Seating(), now=NOW)
CONFIRMED = OrderConfirmed("o1", "c1", {"GA": 1, "CP": 1}, TOTAL, "p1")


def test_a_confirmed_order_has_its_places_made_once_however_often_it_is_confirmed() -> None:
    once = seating().when(CONFIRMED).then_sends(CreateSeatAssignments("o1", {"GA": 1, "CP": 1})).is_done()
    once.after.when(CONFIRMED).then_nothing()


def test_places_are_withdrawn_when_the_order_is_cancelled_and_where_there_are_none_nothing_is() -> None:
    cancelled = OrderCancelled("o1", "c1", was_confirmed=True)
    seating(CONFIRMED).when(cancelled).then_sends(WithdrawSeatAssignments("o1")).is_done()
    seating().when(OrderCancelled("o1", "c1", was_confirmed=False)).then_nothing()


# --- money --------------------------------------------------------------------------------------------

money = given_process(Money(), now=NOW)
INITIATED = PaymentInitiated("p1", "o1", TOTAL)
REFUNDED = PaymentRefunded("p1", "o1", TOTAL, "order cancelled")


def test_each_movement_of_money_is_asked_of_the_provider() -> None:
    money().when(INITIATED).then_sends(Charge("p1", TOTAL)).is_done()
    money(INITIATED).when(INITIATED).then_nothing()
    money(INITIATED).when(REFUNDED).then_sends(GiveBack("p1", TOTAL)).is_done()


# --- the provider -------------------------------------------------------------------------------------


def charged(provider: SimulatedProvider, payment_id: str = "p1") -> list[Notice]:
    heard: list[Notice] = []
    provider.notify = heard.append
    provider.charge(Charge(payment_id, TOTAL), Envelope(None, "1"))
    return heard


@pytest.mark.parametrize(
    ("behaviour", "notices", "taken"),
    [
        ("success", [True], {"p1": TOTAL}),
        ("failure", [False], {}),
        ("timeout", [], {}),
        ("twice", [True, True], {"p1": TOTAL}),
    ],
)
def test_the_provider_behaves_as_planned(behaviour: Behaviour, notices: list[bool], taken: dict[str, Decimal]) -> None:
    provider = SimulatedProvider(plan={"p1": behaviour}, usually="success")
    heard = charged(provider)
    assert [notice.has_succeeded for notice in heard] == notices
    assert provider.charged == taken
    assert len({notice.id for notice in heard}) <= 1
    assert {type(command_of(notice)) for notice in heard} <= {CompletePayment, RejectPayment}


def test_what_the_provider_left_open_comes_to_its_end_late_and_has_one_end() -> None:
    provider = SimulatedProvider(usually="timeout")
    heard = charged(provider)
    provider.settle("p1")
    provider.settle("p1", has_succeeded=False)
    assert [notice.has_succeeded for notice in heard] == [True, True]


def test_asked_twice_the_provider_moves_money_once() -> None:
    provider = SimulatedProvider(usually="success")
    charged(provider)
    provider.give_back(GiveBack("p1", TOTAL), Envelope(None, "2"))
    provider.give_back(GiveBack("p1", TOTAL), Envelope(None, "2"))
    charged(provider)
    assert (provider.charged, provider.given_back) == ({"p1": TOTAL}, {"p1": TOTAL})


def test_without_a_plan_the_seed_decides_and_the_same_seed_decides_the_same() -> None:
    def all_of(seed: int) -> list[Behaviour]:
        return [SimulatedProvider(seed=seed).behaviour(f"p{number}") for number in range(100)]

    assert all_of(1) == all_of(1) != all_of(2)
    assert set(all_of(1)) == set(BEHAVIOURS)


# --- the waiting process ------------------------------------------------------------------------------

waiting = given_process(WaitingProcess(), now=NOW)
OPENED = AvailableSeatsChanged("c1", {"WS": 0})


def join(order_id: str, seats: int, place: int = 1) -> WaitingListJoined:
    return WaitingListJoined("c1", "WS", order_id, seats, place)


def back(seats: int) -> SeatsReleased:
    return SeatsReleased("c1", "somebody", {"WS": seats})


def reserve(order_id: str, number: int, seats: int) -> MakeReservation:
    return MakeReservation("c1", f"{order_id}~offer{number}", {"WS": seats})


def reserved(order_id: str, number: int, seats: int) -> SeatsReserved:
    return SeatsReserved("c1", f"{order_id}~offer{number}", {"WS": seats}, {"WS": -seats})


def offer(order_id: str, number: int, seats: int) -> OfferSeats:
    return OfferSeats("c1", "WS", order_id, seats, f"{order_id}~offer{number}", LATER)


def offered(order_id: str, number: int, seats: int) -> SeatsOffered:
    return SeatsOffered("c1", "WS", order_id, seats, f"{order_id}~offer{number}", LATER)


def test_seats_that_come_back_are_reserved_and_then_offered_to_the_first_who_fits() -> None:
    asked = waiting(OPENED, join("o1", 4), join("o2", 2), join("o3", 1)).when(back(2)).then_sends(reserve("o2", 1, 2))
    asked.after.when(reserved("o2", 1, 2)).then_sends(offer("o2", 1, 2))


@pytest.mark.parametrize(
    "event",
    [
        AvailableSeatsChanged("c1", {"WS": 2}),
        ReservationCancelled("c1", "r", {"WS": 2}),
        back(2),
        SeatsReserved("c1", "r", {"WS": 0}, {"WS": 2}),
    ],
)
def test_however_seats_come_back_they_are_offered(event: AvailableSeatsChanged) -> None:
    waiting(OPENED, join("o1", 2)).when(event).then_sends(reserve("o1", 1, 2))


def test_who_joins_when_there_are_seats_is_asked_at_once() -> None:
    waiting(OPENED, AvailableSeatsChanged("c1", {"WS": 3})).when(join("o1", 2)).then_sends(reserve("o1", 1, 2))
    waiting(OPENED, AvailableSeatsChanged("c1", {"WS": 1})).when(join("o1", 2)).then_sends()


def test_one_may_wait_before_the_first_seats_are_known() -> None:
    early = waiting().when(join("o1", 2)).then_sends()
    early.after.when(AvailableSeatsChanged("c1", {"WS": 2})).then_sends(reserve("o1", 1, 2))


def test_one_is_asked_at_a_time_and_the_next_when_the_first_has_an_offer() -> None:
    both = waiting(OPENED, join("o1", 2), join("o2", 1)).when(back(3)).then_sends(reserve("o1", 1, 2))
    both.after.when(back(1)).then_sends()
    both.after.when(reserved("o1", 1, 2)).then_sends(offer("o1", 1, 2), reserve("o2", 2, 1))


def test_where_others_were_quicker_nobody_is_offered_anything_and_the_first_stays_first() -> None:
    short = waiting(OPENED, join("o1", 2), join("o2", 2), back(2), SeatsReserved("c1", "x", {"WS": 1}, {"WS": -1}))
    given_back = short.when(reserved("o1", 1, 1)).then_sends(CancelReservation("c1", "o1~offer1"))
    again = given_back.after.when(ReservationCancelled("c1", "o1~offer1", {"WS": 1})).then_sends()
    again.after.when(back(1)).then_sends(reserve("o1", 2, 2))


def test_an_offer_ends_at_its_time_and_what_it_held_goes_to_the_next() -> None:
    expire = ExpireOffer("c1", "WS", "o1", "o1~offer1")
    before = waiting(OPENED, join("o1", 2), join("o2", 2), back(2), reserved("o1", 1, 2))
    before.when(offered("o1", 1, 2)).then(Send(expire, at=LATER))
    withdrawn = before.when(OfferWithdrawn("c1", "WS", "o1", "o1~offer1", "timed out"))
    withdrawn.then_sends(CancelReservation("c1", "o1~offer1"))
    withdrawn.after.when(ReservationCancelled("c1", "o1~offer1", {"WS": 2})).then_sends(reserve("o2", 2, 2))


def test_an_accepted_offer_is_the_orders_and_nobody_elses() -> None:
    accepted = waiting(OPENED, join("o1", 2), join("o2", 2), back(2), reserved("o1", 1, 2)).when(
        OfferAccepted("c1", "WS", "o1", 2, "o1~offer1")
    )
    accepted.then_sends()
    accepted.after.when(back(2)).then_sends(reserve("o2", 2, 2))


def test_who_leaves_before_the_answer_is_offered_nothing() -> None:
    left = waiting(OPENED, join("o1", 2), back(2)).when(WaitingListLeft("c1", "WS", "o1")).then_sends()
    left.after.when(reserved("o1", 1, 2)).then_sends(CancelReservation("c1", "o1~offer1"))


def test_an_offer_that_comes_too_late_for_who_left_is_given_back() -> None:
    asked = waiting(OPENED, join("o1", 2), back(2), reserved("o1", 1, 2), WaitingListLeft("c1", "WS", "o1"))
    asked.when_refused(offer("o1", 1, 2), DoesNotWait("o1")).then_sends(CancelReservation("c1", "o1~offer1"))


def test_lists_of_other_seat_types_do_not_wait_for_each_other() -> None:
    lists = waiting(OPENED, join("o1", 2), WaitingListJoined("c1", "GA", "o2", 1, 1))
    lists.when(SeatsReleased("c1", "r", {"WS": 2, "GA": 1})).then_sends(
        reserve("o1", 1, 2), MakeReservation("c1", "o2~offer2", {"GA": 1})
    )

"""The acceptance scenarios, by their numbers in the description of the domain: the whole application, on each engine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import sacho
from examples.conference.assignments import AssignSeat, SeatAssignmentsCreated, UnknownPlace
from examples.conference.management import CreateConference, SlugTaken, UnpublishConference, UpdateSeatType
from examples.conference.orders import (
    AssignRegistrant,
    CancelOrder,
    ConfirmOrder,
    OrderCancelled,
    OrderConfirmed,
    OrderExpired,
    OrderPlaced,
    OrderReinstated,
    RegisterToConference,
)
from examples.conference.payments import InitiatePayment, PaymentCompleted, PaymentRefunded, PaymentRejected
from examples.conference.provider import SimulatedProvider
from examples.conference.read_models.conferences import ConferencePages, conference_of
from examples.conference.read_models.journeys import OrderJourneys, busiest_minutes, journey_funnel, time_to_pay
from examples.conference.read_models.orders import DraftOrders, OrderList, find_orders
from examples.conference.read_models.places import OrderPlaces
from examples.conference.rules import InvalidField
from examples.conference.seats import (
    MakeReservation,
    ReservationCancelled,
    SeatsReleased,
    SeatsReserved,
)
from examples.conference.views import SalesByMinute, sell_out
from examples.conference.waiting import (
    AcceptOffer,
    DeclineOffer,
    JoinWaitingList,
    LeaveWaitingList,
    OfferWithdrawn,
    SeatsOffered,
)
from sacho.errors import NotAuthorised
from sacho.events import ProcessAdvanced
from tests.conftest import ENGINES
from tests.examples.world import DETAILS, PATIENCE, PRICES, World, running, until

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=ENGINES)
def world(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> Iterator[World]:
    with running(url_of(request.param)) as found:
        yield found


# --- 1 to 6: looking and reserving --------------------------------------------------------------------


def test_1_a_conference_is_created_unpublished_with_its_access_code_and_then_published(world: World) -> None:
    world.open(GA=100)
    assert (world.page().access_code, world.page().is_published) == ("C0FFEE", True)
    with world.app.reading(ConferencePages) as view:
        assert conference_of(view, "pyconf") == ("c1", world.page())
    world.do(UnpublishConference("c1"))
    world.settle()
    assert not world.page().is_published
    with pytest.raises(SlugTaken):
        world.do(CreateConference("c2", "PyConf", "C0FFEE", "Ann", "ann@example.org", DETAILS))


def test_2_seats_that_are_there_are_reserved_with_their_price_and_time(world: World) -> None:
    world.open(GA=100, CP=100)
    world.register("o1", GA=1, CP=1)
    order = world.order("o1")
    assert (order.state, order.reserved) == ("reserved", {"GA": 1, "CP": 1})
    assert order.expires_at - world.clock() == timedelta(minutes=15)
    assert world.price("o1").total == Decimal("249.00")
    assert world.page().available == {"GA": 99, "CP": 99}


def test_3_several_seats_of_several_types_are_priced_line_by_line(world: World) -> None:
    world.open(GA=100, WS=100, CP=100)
    world.register("o1", GA=3, WS=1, CP=2)
    assert world.order("o1").state == "reserved"
    assert [str(line.total) for line in world.price("o1").lines] == ["597.00", "500.00", "100.00"]
    assert world.price("o1").total == Decimal("1197.00")


def test_4_an_order_of_nothing_is_refused_and_nothing_is_recorded(world: World) -> None:
    world.open(GA=100, WS=100)
    before = world.app.store.head()
    with pytest.raises(sacho.CommandRefused, match="One or more items are required"):
        world.register("o1", GA=0, WS=0)
    assert world.app.store.head() == before


def test_5_when_everything_is_taken_every_type_shows_as_sold_out(world: World) -> None:
    world.open(GA=10, WS=5)
    world.register("o1", GA=10, WS=5)
    assert world.page().sold_out == ["GA", "WS"]


def test_6_less_than_asked_may_be_accepted_or_changed(world: World) -> None:
    world.open(GA=20, WS=20, CP=20)
    world.register("o1", GA=18, WS=20, CP=10)
    world.register("o2", GA=3, WS=1, CP=2)
    order = world.order("o2")
    assert (order.state, order.reserved) == ("partially reserved", {"GA": 2, "CP": 2})
    assert order.missing == {"GA": 1, "WS": 1}
    assert world.page().sold_out == ["GA", "WS"]
    assert world.price("o2").total == Decimal("498.00")
    world.register("o2", GA=3, CP=5)
    assert (world.order("o2").state, world.held_for("o2")) == ("partially reserved", {"GA": 2, "CP": 5})
    world.register("o2", GA=1)
    assert (world.order("o2").state, world.held_for("o2")) == ("reserved", {"GA": 1})
    assert world.page().available == {"GA": 1, "WS": 0, "CP": 10}


# --- 7 to 11: paying and sitting ----------------------------------------------------------------------


def test_7_a_paid_order_lists_what_was_bought_and_is_found_by_email_and_access_code(world: World) -> None:
    world.open(GA=100, CP=100)
    world.register("o1", GA=1, CP=1)
    world.pay("o1", "p1")
    world.provider.settle("p1")
    world.settle()
    with world.app.reading(DraftOrders) as view:
        [(order_id, order)] = find_orders(view, "O1@Example.org", "CODEo1")
        assert find_orders(view, "o1@example.org", "CODE99") == []
    assert (order_id, order.state, order.reserved) == ("o1", "confirmed", {"GA": 1, "CP": 1})
    listed = world.read(OrderList, "o1")
    assert (listed.state, listed.registrant, listed.received) == ("paid", "Bob Kim", Decimal("249.00"))
    assert world.provider.charged == {"p1": Decimal("249.00")}
    assert world.faults() == []


def test_8_a_missing_last_name_is_said_at_that_field(world: World) -> None:
    world.open(GA=100)
    world.register("o1", GA=1)
    with pytest.raises(InvalidField, match="last_name is required") as refusal:
        world.do(AssignRegistrant("o1", "Ann", "", "ann@example.org"))
    assert refusal.value.field == "last_name"


def test_9_a_payment_that_was_cancelled_leaves_the_seats_held_for_another_one(world: World) -> None:
    world.open(GA=100)
    world.register("o1", GA=1)
    world.pay("o1", "p1")
    world.provider.settle("p1", has_succeeded=False)
    world.settle()
    assert world.events(PaymentRejected, payment_id="p1")
    assert (world.order("o1").state, world.page().available) == ("reserved", {"GA": 99})
    world.pay("o1", "p2")
    world.provider.settle("p2")
    world.settle()
    assert world.order("o1").state == "confirmed"
    assert world.faults() == []


def test_10_a_free_order_completes_without_payment_and_no_other_does(world: World) -> None:
    world.open({"GA": Decimal(0), "WS": Decimal(500)}, GA=10, WS=10)
    world.register("o1", GA=1)
    assert world.price("o1").is_free
    world.do(ConfirmOrder("o1"))
    world.settle()
    assert world.order("o1").state == "confirmed"
    world.register("o2", WS=1)
    with pytest.raises(sacho.CommandRefused):
        world.do(ConfirmOrder("o2"))
    with pytest.raises(NotAuthorised):
        world.do(ConfirmOrder("o2", "p9", Decimal(500)))
    assert world.faults(but=["process registration o2"]) == []


def test_11_each_place_has_its_attendee_and_the_rest_are_shown_unassigned(world: World) -> None:
    world.open(GA=10, WS=10)
    world.register("o1", GA=1, WS=2)
    with pytest.raises(UnknownPlace):
        world.do(AssignSeat("o1", 0, "Ann", "Lee", "ann@example.org"))
    world.pay("o1", "p1")
    world.provider.settle("p1")
    world.settle()
    world.do(AssignSeat("o1", 0, "Ann", "Lee", "ann@example.org"))
    world.do(AssignSeat("o1", 2, "Bob", "Kim", "bob@example.org"))
    world.settle()
    places = world.read(OrderPlaces, "o1")
    assert [(one.seat_type, one.attendee and one.attendee.first_name) for one in places.places] == [
        ("GA", "Ann"),
        ("WS", None),
        ("WS", "Bob"),
    ]
    assert places.unassigned == 1
    world.do(AssignSeat("o1", 1, "Cid", "Oh", "cid@example.org"))
    world.settle()
    assert world.read(OrderPlaces, "o1").unassigned == 0


# --- 12 to 15: at once, too late, after a crash -------------------------------------------------------


def at_once(world: World, count: int, **seats: int) -> list[dict[str, int]]:
    """Let as many register at once; return what each has."""
    prices = world.page().prices
    with ThreadPoolExecutor(16) as threads:
        for _ in threads.map(
            lambda number: world.do(
                RegisterToConference(f"o{number}", "c1", seats, prices, f"CODE{number}", world.clock())
            ),
            range(count),
        ):
            pass
    world.settle()
    return [world.held_for(f"o{number}") for number in range(count)]


def test_12_four_who_want_two_each_of_four_are_two_complete_and_two_with_none(world: World) -> None:
    world.open(WS=4)
    held = at_once(world, 4, WS=2)
    assert sorted(one.get("WS", 0) for one in held) == [0, 0, 2, 2]
    states = sorted(world.order(f"o{number}").state for number in range(4))
    assert states == ["partially reserved"] * 2 + ["reserved"] * 2
    assert world.page().available == {"WS": 0}
    assert world.faults(but=["process registration"]) == []


def test_13_two_hundred_who_race_for_two_hundred_seats_by_two_are_a_hundred_complete(world: World) -> None:
    world.open(GA=200)
    held = at_once(world, 200, GA=2)
    assert sorted(one.get("GA", 0) for one in held) == [0] * 100 + [2] * 100
    assert world.page().available == {"GA": 0}
    assert world.faults(but=["process registration"]) == []


def test_14_a_deadline_after_the_confirmation_is_nothing(world: World) -> None:
    world.open(GA=10)
    world.register("o1", GA=1)
    world.register("o2", GA=1)
    world.pay("o1", "p1")
    world.provider.settle("p1")
    world.settle()
    world.clock.advance(hours=1)
    world.until(OrderExpired, order_id="o2")
    assert (world.order("o1").state, world.order("o2").state) == ("confirmed", "expired")
    assert world.page().available == {"GA": 9}
    assert world.faults() == []


CRASH = """
import os, sys, threading
from examples.conference.orders import RegisterToConference
from examples.conference.seats import MakeReservation
from tests.examples.world import NOW, PRICES, running

def crash(envelope):
    if isinstance(envelope.command, MakeReservation):
        os._exit(9)
    return envelope

with running(sys.argv[1], steps=[crash]) as world:
    world.do(RegisterToConference("o1", "c1", {"GA": 2}, PRICES, "CODE01", NOW))
    threading.Event().wait(300)
"""


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_15_after_a_crash_between_recording_and_sending_the_same_messages_go_out(
    engine: str, url_of: Callable[[str], str]
) -> None:
    url = url_of(engine)
    with running(url) as world:
        world.open(GA=10)
    died = subprocess.run([sys.executable, "-c", CRASH, url], cwd=ROOT, timeout=PATIENCE)
    assert died.returncode == 9
    with sacho.connect(url) as store:
        [step] = [one.event for one in store.read("registration-o1")]
        assert isinstance(step, ProcessAdvanced)
        assert list(store.read("seats-c1", after=1)) == []
    with running(url) as world:
        world.until(SeatsReserved, reservation_id="o1")
        assert world.held_for("o1") == {"GA": 2}
        log = list(world.app.store.read_all())
    first = next(one.event for one in log if one.stream == "registration-o1")
    assert first == step
    [answer] = [one for one in log if isinstance(one.event, SeatsReserved)]
    assert answer.metadata["command_id"] == step.commands[0].id


@pytest.mark.parametrize("engine", ENGINES)
def test_15_a_message_that_could_not_be_sent_goes_out_later_with_the_same_id(
    engine: str, url_of: Callable[[str], str]
) -> None:
    broken = [True]

    def fail(envelope: sacho.Envelope) -> sacho.Envelope:
        if broken and isinstance(envelope.command, MakeReservation):
            raise RuntimeError("the power is off")
        return envelope

    with running(url_of(engine), steps=[fail]) as first:
        first.open(GA=10)
        first.do(RegisterToConference("o1", "c1", {"GA": 2}, PRICES, "CODE01", first.clock()))
        until(lambda: first.app.administration.parked("sacho-commands"))
        [before] = first.events(ProcessAdvanced, process="registration")
        assert first.events(SeatsReserved) == []
        broken.clear()
        first.app.administration.retry("sacho-commands")
        first.until(SeatsReserved, reservation_id="o1")
        [answer] = [one for one in first.app.store.read_all() if isinstance(one.event, SeatsReserved)]
        assert answer.metadata["command_id"] == before.commands[0].id


# --- too late -----------------------------------------------------------------------------------------


def expired(world: World, order_id: str) -> None:
    """Let the time of an order pass, and its process see it."""
    world.clock.advance(minutes=30)
    world.until(OrderExpired, order_id=order_id)


def test_a_payment_after_the_deadline_reinstates_the_order_while_its_seats_are_there(world: World) -> None:
    world.open(GA=10)
    world.register("o1", GA=2)
    world.pay("o1", "p1")
    expired(world, "o1")
    assert world.page().available == {"GA": 10}
    world.provider.settle("p1")
    world.until(OrderConfirmed, order_id="o1")
    assert world.events(OrderReinstated, order_id="o1")
    assert (world.order("o1").state, world.held_for("o1")) == ("confirmed", {"GA": 2})
    assert world.page().available == {"GA": 8}
    assert world.faults() == []


def test_a_payment_after_the_deadline_is_refunded_where_the_seats_are_gone(world: World) -> None:
    world.open(GA=3)
    world.register("o1", GA=2)
    world.pay("o1", "p1")
    expired(world, "o1")
    world.register("o2", GA=2)
    world.provider.settle("p1")
    world.until(PaymentRefunded, payment_id="p1", reason="seats gone")
    assert world.order("o1").state == "expired"
    assert world.page().available == {"GA": 1}
    assert world.provider.given_back == {"p1": Decimal("398.00")}
    assert world.faults(but=["process registration o2"]) == []


def test_a_payment_within_the_grace_confirms_the_order_as_if_it_were_in_time(world: World) -> None:
    world.open(GA=3)
    world.register("o1", GA=2)
    world.pay("o1", "p1")
    world.clock.advance(minutes=20)
    world.provider.settle("p1")
    world.until(OrderConfirmed, order_id="o1")
    assert not world.events(OrderReinstated)
    assert not world.events(OrderExpired)
    assert world.faults() == []


# --- cancelling ---------------------------------------------------------------------------------------


def test_an_order_that_is_cancelled_before_it_is_confirmed_gives_its_seats_back(world: World) -> None:
    world.open(GA=3)
    world.register("o1", GA=2)
    world.do(CancelOrder("o1"))
    world.settle()
    assert world.events(ReservationCancelled, reservation_id="o1")
    assert (world.order("o1").state, world.page().available) == ("cancelled", {"GA": 3})
    assert world.faults() == []


def test_an_order_that_is_cancelled_after_it_is_confirmed_releases_its_seats_and_is_refunded_once(world: World) -> None:
    world.open(GA=3)
    world.register("o1", GA=2)
    world.pay("o1", "p1")
    world.provider.settle("p1")
    world.settle()
    world.do(CancelOrder("o1"))
    world.do(CancelOrder("o1"))
    world.settle()
    assert len(world.events(OrderCancelled)) == len(world.events(SeatsReleased)) == 1
    assert [one.amount for one in world.events(PaymentRefunded)] == [Decimal("398.00")]
    assert world.page().available == {"GA": 3}
    assert world.provider.given_back == world.provider.charged == {"p1": Decimal("398.00")}
    with world.app.reading(OrderPlaces) as view:
        assert view.get("o1") is None
    assert world.read(OrderList, "o1").received == 0
    assert world.faults() == []


def test_a_payment_that_comes_for_a_cancelled_order_goes_back(world: World) -> None:
    world.open(GA=3)
    world.register("o1", GA=2)
    world.pay("o1", "p1")
    world.do(CancelOrder("o1"))
    world.settle()
    world.provider.settle("p1")
    world.until(PaymentRefunded, payment_id="p1")
    assert world.faults() == []


# --- money --------------------------------------------------------------------------------------------


def test_what_the_provider_says_twice_happens_once(url_of: Callable[[str], str]) -> None:
    with running(url_of("sqlite"), provider=SimulatedProvider(usually="twice")) as world:
        world.open(GA=3)
        world.register("o1", GA=2)
        world.pay("o1", "p1")
        assert len(world.events(PaymentCompleted)) == len(world.events(OrderConfirmed)) == 1
        assert len(world.events(SeatAssignmentsCreated)) == 1
        assert world.faults() == []


def test_who_pays_twice_gets_the_second_payment_back(world: World) -> None:
    world.open(GA=3)
    world.register("o1", GA=2)
    world.pay("o1", "p1")
    world.pay("o1", "p2")
    world.provider.settle("p2")
    world.provider.settle("p1")
    world.until(PaymentRefunded, payment_id="p1", reason="paid before")
    assert world.order("o1").state == "confirmed"
    assert world.faults() == []


def test_another_amount_than_the_price_goes_back_and_the_right_one_confirms(world: World) -> None:
    world.open(GA=3)
    world.register("o1", GA=2)
    world.pay("o1", "p1", "1.00")
    world.provider.settle("p1")
    world.until(PaymentRefunded, payment_id="p1", reason="not what it costs")
    assert world.order("o1").state == "reserved"
    world.pay("o1", "p2")
    world.provider.settle("p2")
    world.settle()
    assert world.order("o1").state == "confirmed"
    assert world.faults() == []


# --- the waiting list ---------------------------------------------------------------------------------


def wait_for(world: World, order_id: str, seats: int) -> None:
    """Order seats that are gone, and wait for them."""
    world.register(order_id, WS=seats)
    world.do(JoinWaitingList("c1", "WS", order_id, seats))
    world.settle()


def test_seats_that_come_back_are_offered_in_order_and_who_does_not_fit_is_passed_over(world: World) -> None:
    world.open(WS=4)
    world.register("o1", WS=2)
    world.register("o2", WS=2)
    for order_id, seats in (("o3", 4), ("o4", 2), ("o5", 1)):
        wait_for(world, order_id, seats)
    world.do(CancelOrder("o1"))
    assert world.until(SeatsOffered, order_id="o4").seats == 2
    world.do(DeclineOffer("c1", "WS", "o4"))
    assert world.until(SeatsOffered, order_id="o5").seats == 1
    world.do(CancelOrder("o2"))
    world.settle()
    assert [one.order_id for one in world.events(SeatsOffered)] == ["o4", "o5"]
    world.do(DeclineOffer("c1", "WS", "o5"))
    assert world.until(SeatsOffered, order_id="o3").seats == 4
    assert world.page().available == {"WS": 0}
    assert world.faults(but=["process registration", "is open"]) == []


def test_an_accepted_offer_lets_the_order_go_on_as_reserved(world: World) -> None:
    world.open(WS=2)
    world.register("o1", WS=2)
    wait_for(world, "o2", 2)
    expired(world, "o1")
    world.until(SeatsOffered, order_id="o2")
    assert world.order("o2").state == "expired"
    world.do(AcceptOffer("c1", "WS", "o2"))
    world.settle()
    order = world.order("o2")
    assert (order.state, order.reserved) == ("reserved", {"WS": 2})
    assert order.expires_at == world.clock() + timedelta(minutes=15)
    world.pay("o2", "p2")
    world.provider.settle("p2")
    world.until(OrderConfirmed, order_id="o2")
    assert world.page().available == {"WS": 0}
    assert world.faults() == []


def test_an_accepted_offer_that_is_not_paid_expires_and_goes_to_the_next(world: World) -> None:
    world.open(WS=2)
    world.register("o1", WS=2)
    wait_for(world, "o2", 2)
    wait_for(world, "o3", 2)
    expired(world, "o1")
    world.until(SeatsOffered, order_id="o2")
    world.do(AcceptOffer("c1", "WS", "o2"))
    world.settle()
    world.clock.advance(minutes=30)
    world.until(SeatsOffered, order_id="o3")
    assert world.order("o2").state == "expired"
    world.do(DeclineOffer("c1", "WS", "o3"))
    world.settle()
    assert world.page().available == {"WS": 2}
    assert world.faults() == []


def test_an_offer_whose_time_is_over_goes_to_the_next(world: World) -> None:
    world.open(WS=2)
    world.register("o1", WS=2)
    wait_for(world, "o2", 2)
    wait_for(world, "o3", 1)
    world.do(CancelOrder("o1"))
    world.until(SeatsOffered, order_id="o2")
    world.clock.advance(minutes=31)
    world.until(OfferWithdrawn, order_id="o2", ending="timed out")
    world.until(SeatsOffered, order_id="o3")
    with pytest.raises(sacho.CommandRefused):
        world.do(AcceptOffer("c1", "WS", "o2"))
    world.do(LeaveWaitingList("c1", "WS", "o3"))
    world.settle()
    assert world.page().available == {"WS": 2}
    assert world.faults() == []


def test_more_seats_of_the_organiser_are_offered_to_those_who_wait(world: World) -> None:
    world.open(WS=1)
    world.register("o1", WS=1)
    wait_for(world, "o2", 2)
    world.do(UpdateSeatType("c1", "WS", "Workshop", "", 3, PRICES["WS"]))
    world.until(SeatsOffered, order_id="o2")
    assert world.page().available == {"WS": 0}


def test_who_waits_or_pays_does_so_for_an_order_and_for_what_it_asked_for(url_of: Callable[[str], str]) -> None:
    with running(url_of("memory")) as world:
        world.open(GA=3, WS=3)
        world.register("o1", GA=1)
        for refused in (
            JoinWaitingList("c1", "GA", "o2", 1),
            JoinWaitingList("c2", "GA", "o1", 1),
            JoinWaitingList("c1", "WS", "o1", 1),
            InitiatePayment("p1", "o2", Decimal(1)),
        ):
            with pytest.raises(sacho.CommandRefused):
                world.do(refused)
        world.do(JoinWaitingList("c1", "GA", "o1", 1))


# --- what the organiser learns ------------------------------------------------------------------------


def test_the_organiser_sees_the_funnel_the_busiest_minutes_and_the_sell_out(world: World) -> None:
    world.open(GA=4)
    for number in range(1, 5):
        world.register(f"o{number}", GA=1)
    world.register("o5", GA=1)
    for number in (1, 2, 3):
        world.pay(f"o{number}", f"p{number}")
    world.provider.settle("p1")
    world.settle()
    world.do(CancelOrder("o2"))
    expired(world, "o5")
    world.until(OrderExpired, order_id="o4")
    world.until(OrderExpired, order_id="o3")
    with world.app.reading(OrderJourneys) as view:
        steps = journey_funnel(view, "c1")
        minutes = busiest_minutes(view, "c1")
        times = time_to_pay(view, "c1")
    assert [tuple(step) for step in steps] == [
        ("placed", 5, 1),
        ("reserved", 4, 1),
        ("registered", 3, 0),
        ("paying", 3, 2),
        ("confirmed", 1, 0),
    ]
    assert sum(count for _, count in minutes) == len(world.events(OrderPlaced)) == 5
    assert times is not None
    assert times.orders == 1
    assert times.quickest == times.median == times.slowest > 0
    with world.app.reading(SalesByMinute) as view:
        assert sell_out(view, "c1")["GA"][-1][1] == 1
    assert world.faults() == []

"""The registration in simulation: crowds who book, pay, cancel and wait, while workers die and all comes twice or late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from functools import partial

import pytest

from examples.conference.booking import PROCESSES
from examples.conference.checks import check_order
from examples.conference.invariants import INVARIANTS
from examples.conference.management import (
    AddSeatType,
    CreateConference,
    Details,
    PublishConference,
    UpdateSeatType,
    create_conference,
)
from examples.conference.orders import (
    AssignRegistrant,
    CancelOrder,
    ConfirmOrder,
    OrderCancelled,
    OrderConfirmed,
    OrderExpired,
    OrderReinstated,
    OrderTotalsCalculated,
    RegisterToConference,
)
from examples.conference.payments import (
    InitiatePayment,
    PaymentCompleted,
    PaymentInitiated,
    PaymentRefunded,
    PaymentRejected,
)
from examples.conference.provider import Notice, SimulatedProvider, command_of
from examples.conference.registration import RegistrationProcess
from examples.conference.routes import authorise, routes
from examples.conference.seats import SeatsReleased, SeatsState
from examples.conference.waiting import (
    AcceptOffer,
    DeclineOffer,
    JoinWaitingList,
    LeaveWaitingList,
    OfferAccepted,
    OfferWithdrawn,
    SeatsOffered,
)
from sacho import CommandRefused, Envelope, RecordedEvent, call
from sacho.testing import Actor, SimulationFailed, World, simulate

SEEDS = 2_000
KINDS = ("GA", "WS")
PRICES = {"GA": Decimal("199.00"), "WS": Decimal("0.00")}
DETAILS = Details("PyConf", "All about Python", "Seoul", "Write less", date(2026, 5, 1), date(2026, 5, 3))


class Booking:
    """One conference in one simulation: few seats, a crowd, and a bank that does what the seed says."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.bank = SimulatedProvider(seed=world.seed)
        self.bank.notify = self.notified
        world.application(
            consumers=PROCESSES,
            routes=[call(self.create, CreateConference), *routes(self.bank)],
            authorise=authorise,
            steps=[self.checked],
        )

    def create(self, command: CreateConference, envelope: Envelope) -> None:
        create_conference(self.world.store, command, envelope.id)

    def checked(self, envelope: Envelope) -> Envelope:
        check_order(self.world.store, envelope.command)
        return envelope

    def notified(self, notice: Notice) -> None:
        """Notices are on their way for a while, and overtake each other."""
        after = self.random.uniform(0, self.random.choice([1.0, 60.0, 3_600.0]))
        self.world.command(command_of(notice), id=notice.id, origin="inbox", after=after)

    # --- people ---------------------------------------------------------------------------------------

    def organiser(self) -> Actor:
        yield CreateConference("c1", "pyconf", "C0FFEE", "Ann", "ann@example.org", DETAILS)
        for kind in KINDS:
            yield AddSeatType("c1", kind, f"Seats {kind}", "", self.random.randint(1, 5), PRICES[kind])
        yield PublishConference("c1")
        for _ in range(self.random.randint(0, 2)):
            yield self.random.uniform(0, 7_200)
            kind = self.random.choice(KINDS)
            yield UpdateSeatType("c1", kind, f"Seats {kind}", "", self.random.randint(1, 8), PRICES[kind])

    def registrant(self, order_id: str) -> Actor:
        """Register, perhaps change one's mind, pay or wait, and perhaps cancel, at any time."""
        yield self.wanted(order_id)
        if self.random.random() < 0.2:
            yield self.random.uniform(0, 900)
            yield self.wanted(order_id)
        if self.random.random() < 0.4:
            kind = self.random.choice(KINDS)
            yield JoinWaitingList("c1", kind, order_id, self.random.randint(1, 3))
            self.world.actor(self.waiter(order_id), after=60)
        for number in range(self.random.choice([0, 1, 1, 1, 2])):
            yield self.random.uniform(0, self.random.choice([300, 3_000]))
            yield from self.pay(order_id, f"p-{order_id}-{number}")

    def wanted(self, order_id: str) -> RegisterToConference:
        wanted = {kind: self.random.randint(0, 3) for kind in KINDS}
        return RegisterToConference(order_id, "c1", wanted, PRICES, "CODE01", self.world.now)

    def pay(self, order_id: str, payment_id: str) -> Actor:
        yield AssignRegistrant(order_id, "Bob", "Kim", f"{order_id}@example.org")
        totals = [one.total for one in self.world.events(OrderTotalsCalculated) if one.order_id == order_id]
        if not totals[-1]:
            yield ConfirmOrder(order_id)
            return
        yield InitiatePayment(payment_id, order_id, totals[-1])
        if self.bank.behaviour(payment_id) == "timeout":
            self.world.later(self.random.uniform(60, 7_200), partial(self.settle, payment_id))

    def settle(self, payment_id: str) -> None:
        """Let a slow registrant pay at last, once the bank was asked to charge."""
        try:
            self.bank.settle(payment_id, has_succeeded=self.random.random() < 0.8)
        except KeyError:
            self.world.later(600, partial(self.settle, payment_id))

    def canceller(self, order_id: str) -> Actor:
        yield CancelOrder(order_id)

    def waiter(self, order_id: str) -> Actor:
        """Answer offers, or let their time pass."""
        for _ in range(20):
            offers = [one for one in self.world.events(SeatsOffered) if one.order_id == order_id]
            over: list[OfferAccepted | OfferWithdrawn] = [
                *self.world.events(OfferAccepted),
                *self.world.events(OfferWithdrawn),
            ]
            answered = {one.reservation_id for one in over}
            for offer in offers:
                if offer.reservation_id not in answered and self.random.random() < 0.6:
                    answer = self.random.choice([AcceptOffer, AcceptOffer, DeclineOffer, LeaveWaitingList])
                    try:
                        yield answer("c1", offer.seat_type, order_id)
                    except CommandRefused:
                        continue
            yield self.random.uniform(60, 1_200)

    # --- what must hold outside the log ---------------------------------------------------------------

    def the_bank_agrees(self, events: Sequence[RecordedEvent]) -> list[str]:
        """The bank took and gave back what the log says, and nothing else."""
        came = {one.event.payment_id: one.event.amount for one in events if isinstance(one.event, PaymentCompleted)}
        went = {one.event.payment_id: one.event.amount for one in events if isinstance(one.event, PaymentRefunded)}
        asked = {one.event.payment_id for one in events if isinstance(one.event, PaymentInitiated)}
        found = [] if self.bank.charged == came else [f"the bank took {self.bank.charged}, the log says {came}"]
        found += [] if self.bank.given_back == went else [f"the bank gave {self.bank.given_back}, the log says {went}"]
        return found + [f"payment {id} was never asked for" for id in self.bank.charged if id not in asked]


def booking(world: World) -> Callable[[Sequence[RecordedEvent]], list[str]]:
    """A conference with a crowd."""
    one = Booking(world)
    world.actor(one.organiser())
    for number in range(world.random.randint(3, 9)):
        order_id = f"o{number}"
        begins = 5 + world.random.uniform(0, world.random.choice([10, 1_800]))
        world.actor(one.registrant(order_id), after=begins)
        if world.random.random() < 0.25:
            world.actor(one.canceller(order_id), after=begins + world.random.uniform(0, 5_400))
    return one.the_bank_agrees


class Seen:
    """How often which event was seen, over all seeds: a proof that nothing happened in proves nothing."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()

    def __call__(self, events: Sequence[RecordedEvent]) -> None:
        self.kinds.update(one.type for one in events)

    def lacks(self, *kinds: type) -> list[str]:
        return [kind.__name__ for kind in kinds if not self.kinds[kind.__name__]]

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.kinds.items()) if "." not in kind)


def test_whatever_dies_and_whatever_comes_twice_or_late_a_conference_is_booked_soundly(
    soak_count: Callable[[int], int], counted: Callable[[str, object], None]
) -> None:
    seen = Seen()
    report = simulate(booking, seeds=range(soak_count(SEEDS)), invariants=[*INVARIANTS, seen])
    counted("simulated registrations", report)
    counted("what happened in them", seen)
    counts = report.counts
    assert min(counts.crashes, counts.unreachable, counts.races, counts.duplicates, counts.set_back) > 0
    assert (
        seen.lacks(
            OrderConfirmed,
            OrderCancelled,
            OrderExpired,
            OrderReinstated,
            PaymentRefunded,
            PaymentRejected,
            SeatsReleased,
            SeatsOffered,
            OfferAccepted,
            OfferWithdrawn,
        )
        == []
    )


def test_the_simulated_registration_finds_seats_that_are_sold_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same crowd before a box office that does not look how many seats are left."""
    monkeypatch.setattr(SeatsState, "can_hold", lambda self, reservation_id, wanted: dict(wanted))
    with pytest.raises(SimulationFailed, match="was given seats that there are not") as first:
        simulate(booking, seeds=range(200), invariants=INVARIANTS)
    with pytest.raises(SimulationFailed) as again:
        simulate(booking, seeds=[first.value.seed], invariants=INVARIANTS)
    assert str(again.value) == str(first.value)


def test_the_simulated_registration_finds_a_payment_after_the_deadline_that_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A registration that ends with its deadline, as the reference did, and hears of no payment after it."""
    takes = RegistrationProcess.takes["event", "PaymentCompleted"]._replace(when_done=False)
    deaf = {**RegistrationProcess.takes, ("event", "PaymentCompleted"): takes}
    monkeypatch.setattr(RegistrationProcess, "takes", deaf)
    with pytest.raises(SimulationFailed, match="is kept, and the order is not confirmed by it"):
        simulate(booking, seeds=range(200), invariants=INVARIANTS)

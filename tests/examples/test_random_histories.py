"""Whatever people do, in whatever order, and however late the money comes: at the end everything is sound."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from examples.conference.management import UpdateSeatType
from examples.conference.orders import CancelOrder, RegisterToConference
from examples.conference.payments import InitiatePayment
from examples.conference.provider import SimulatedProvider
from examples.conference.read_models.orders import PricedOrders
from examples.conference.waiting import AcceptOffer, DeclineOffer, JoinWaitingList, LeaveWaitingList, SeatsOffered
from sacho import CommandRefused
from tests.examples.world import PRICES, World, running

ORDERS = 12
STEPS = 120
KINDS = ("GA", "WS")


class Crowd:
    """People who do what comes to their minds."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.payments = 0

    def act(self) -> None:
        """Do one thing, without waiting for what comes of it; it may well be refused."""
        order_id = f"o{self.chance.randrange(ORDERS)}"
        with suppress(CommandRefused):
            self.chance.choices(
                [self.register, self.pay, self.settle_one, self.cancel, self.wait, self.change, self.pause],
                [8, 8, 8, 3, 9, 1, 5],
            )[0](order_id)

    def register(self, order_id: str) -> None:
        wanted = {kind: self.chance.randint(0, 3) for kind in KINDS}
        self.world.do(RegisterToConference(order_id, "c1", wanted, PRICES, "CODE01", self.world.clock()))

    def pay(self, order_id: str) -> None:
        with self.world.app.reading(PricedOrders) as view:
            price = view.get(order_id)
        if price is not None and price.total:
            self.payments += 1
            self.world.do(InitiatePayment(f"p{self.payments}", order_id, price.total))

    def settle_one(self, order_id: str) -> None:
        if self.payments:
            payment = f"p{self.chance.randint(1, self.payments)}"
            with suppress(KeyError):  # the provider has not been asked yet
                self.world.provider.settle(payment, has_succeeded=self.chance.random() < 0.8)

    def cancel(self, order_id: str) -> None:
        self.world.do(CancelOrder(order_id))

    def wait(self, order_id: str) -> None:
        offers = self.world.events(SeatsOffered)
        if offers and self.chance.random() < 0.6:
            offer = self.chance.choice(offers[-3:])
            answer = self.chance.choice([AcceptOffer, AcceptOffer, DeclineOffer, LeaveWaitingList])
            self.world.do(answer("c1", offer.seat_type, offer.order_id))
        else:
            self.world.do(JoinWaitingList("c1", self.chance.choice(KINDS), order_id, self.chance.randint(1, 3)))

    def change(self, order_id: str) -> None:
        kind = self.chance.choice(KINDS)
        self.world.do(UpdateSeatType("c1", kind, "Seats", "", self.chance.randint(6, 12), PRICES[kind]))

    def pause(self, order_id: str) -> None:
        self.world.settle()
        if self.chance.random() < 0.5:
            self.world.pass_time(minutes=self.chance.randint(1, 20))

    def go_home(self) -> None:
        """Let all money come, and all time pass, until nothing happens any more."""
        world, head = self.world, -1
        world.settle()
        for number in range(1, self.payments + 1):
            world.provider.settle(f"p{number}")
        while head != world.app.store.head() or world.pending():
            head = world.app.store.head()
            world.pass_time(hours=1)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_people_do_the_end_is_sound(seed: int, url_of: Callable[[str], str]) -> None:
    engine = ("memory", "sqlite", "postgres")[seed % 3]
    with running(url_of(engine), provider=SimulatedProvider(usually="timeout")) as world:
        world.open(GA=8, WS=6)
        crowd = Crowd(world, seed)
        for _ in range(STEPS):
            crowd.act()
        crowd.go_home()
        assert world.faults() == []
        assert [one for one in world.app.administration.status() if one.parked or one.error] == []

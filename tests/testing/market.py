"""A market that money is taken at: a scenario for simulations whose decider does what it is told, so that nothing may come twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import msgspec

from sacho import Decider, Event, RecordedEvent, route, stream_id
from sacho.events import CommandTurnedDown, DeadlinePassed, ProcessAdvanced
from sacho.reacting import (
    Become,
    Done,
    Moment,
    ProcessManager,
    Reaction,
    Send,
    SetDeadline,
    continues,
    on_deadline,
    on_refusal,
    starts,
)
from sacho.testing import Actor, World
from tests.reacting.processes.shop import ROUTES, Fulfilment, GoodsGivenBack, GoodsHeld, PayOrder, PlaceOrder


class Bought(Event, type="market.bought"):
    buyer: str
    price: int


class MoneyTaken(Event, type="market.money-taken"):
    buyer: str
    price: int


class Buy(msgspec.Struct, frozen=True):
    buyer: str
    price: int


class TakeMoney(msgspec.Struct, frozen=True):
    buyer: str
    price: int


class Purse(Decider[Buy | TakeMoney, int, Bought | MoneyTaken]):
    """Takes money as often as it is asked: that it is asked once is for others to see to."""

    initial = 0

    def decide(self, command: Buy | TakeMoney, state: int) -> Iterator[Bought | MoneyTaken]:
        match command:
            case Buy(buyer, price):
                yield Bought(buyer, price)
            case TakeMoney(buyer, price):
                yield MoneyTaken(buyer, price)

    def evolve(self, state: int, event: Bought | MoneyTaken) -> int:
        return state + (event.price if isinstance(event, MoneyTaken) else 0)


class Buying(msgspec.Struct, frozen=True):
    price: int = 0
    reminders: int = 0


class Sale(ProcessManager[Buying]):
    """Takes the money in two parts: one at once, one later; and reminds of it in between."""

    initial = Buying()

    @starts(Bought, key="buyer")
    def bought(self, event: Bought, state: Buying, moment: Moment) -> Iterator[Reaction]:
        yield Send(TakeMoney(event.buyer, event.price))
        yield Send(TakeMoney(event.buyer, event.price + 1), at=moment.now + timedelta(minutes=5))
        yield SetDeadline("remind", moment.now + timedelta(minutes=1))
        yield Become(Buying(event.price))

    @continues(MoneyTaken, key="buyer")
    def paid(self, event: MoneyTaken, state: Buying, moment: Moment) -> Iterator[Reaction]:
        if event.price > state.price:
            yield Done()

    @on_deadline("remind")
    def remind(self, deadline: DeadlinePassed, state: Buying, moment: Moment) -> Iterator[Reaction]:
        yield Become(Buying(state.price, state.reminders + 1))
        if state.reminders < 2:
            yield SetDeadline("remind", moment.now + timedelta(minutes=1))

    @on_refusal(TakeMoney)
    def refused(self, refusal: CommandTurnedDown, state: Buying, moment: Moment) -> Iterator[Reaction]:
        yield Done()


SALES = [route(Purse(), (Buy, TakeMoney), stream=lambda command: stream_id("purse", command.buyer))]


def market(world: World) -> None:
    """Some buy, each once."""
    world.application(consumers=[Sale], routes=SALES)
    for number in range(world.random.randint(1, 5)):
        world.command(Buy(f"b{number}", 10 * number), after=world.random.uniform(0, 300))


def money_is_taken_once(events: Sequence[RecordedEvent]) -> Iterator[str]:
    """Each buyer pays each part once."""
    taken = [(one.event.buyer, one.event.price) for one in events if isinstance(one.event, MoneyTaken)]
    for one in dict.fromkeys(taken):
        if taken.count(one) > 1:
            yield f"{one} was taken {taken.count(one)} times"


def every_process_ends(events: Sequence[RecordedEvent]) -> Iterator[str]:
    """No process is left where it waits for what never comes."""
    last = {one.event.key: one.event for one in events if isinstance(one.event, ProcessAdvanced)}
    for key, event in last.items():
        if not event.is_done:
            yield f"{key} goes on, at {event.state}"


def goods_are_held_by_one(events: Sequence[RecordedEvent]) -> Iterator[str]:
    """One of each item is there."""
    holders: dict[str, str] = {}
    for recorded in events:
        match recorded.event:
            case GoodsHeld(item, order_id):
                if item in holders:
                    yield f"{recorded.position}: {order_id} holds the {item} that {holders[item]} holds"
                holders[item] = order_id
            case GoodsGivenBack(item):
                holders.pop(item, None)


def shopping(world: World) -> None:
    """Some order goods of which there are few; some pay for them."""
    world.application(consumers=[Fulfilment], routes=ROUTES)

    def customer(order_id: str) -> Actor:
        yield PlaceOrder(order_id, world.random.choice(["book", "pen", "none"]))
        if world.random.random() < 0.6:
            yield world.random.uniform(0, 1_200)
            yield PayOrder(order_id)

    for number in range(world.random.randint(2, 6)):
        world.actor(customer(f"o{number}"), after=world.random.uniform(0, 600))

"""A small shop: orders whose goods are held and which are paid or not, by one process for each order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TypeAlias

import msgspec

from sacho import CommandRefused, Decider, Event, route, stream_id
from sacho.deciding import Retry
from sacho.events import CommandTurnedDown, DeadlinePassed
from sacho.reacting import (
    Become,
    CancelDeadline,
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

PATIENCE = timedelta(minutes=15)


class OrderPlaced(Event, type="shop.order-placed"):
    order_id: str
    item: str


class OrderPaid(Event, type="shop.order-paid"):
    order_id: str


class OrderClosed(Event, type="shop.order-closed"):
    order_id: str
    why: str


class GoodsHeld(Event, type="shop.goods-held"):
    item: str
    order_id: str


class GoodsGivenBack(Event, type="shop.goods-given-back"):
    item: str
    order_id: str


class PlaceOrder(msgspec.Struct, frozen=True):
    order_id: str
    item: str


class PayOrder(msgspec.Struct, frozen=True):
    order_id: str


class CloseOrder(msgspec.Struct, frozen=True):
    order_id: str
    why: str


class HoldGoods(msgspec.Struct, frozen=True):
    item: str
    order_id: str


class GiveGoodsBack(msgspec.Struct, frozen=True):
    item: str
    order_id: str


class Sing(msgspec.Struct, frozen=True):
    """A command that nobody handles."""

    order_id: str


class SoldOut(CommandRefused):
    pass


class OrderState(msgspec.Struct, frozen=True):
    phase: str = "none"


class Order(Decider[PlaceOrder | PayOrder | CloseOrder, OrderState, OrderPlaced | OrderPaid | OrderClosed]):
    initial = OrderState()

    def decide(
        self, command: PlaceOrder | PayOrder | CloseOrder, state: OrderState
    ) -> Iterator[OrderPlaced | OrderPaid | OrderClosed]:
        match command:
            case PlaceOrder(order_id, item) if state.phase == "none":
                yield OrderPlaced(order_id, item)
            case PayOrder(order_id) if state.phase == "placed":
                yield OrderPaid(order_id)
            case CloseOrder(order_id, why) if state.phase != "closed":
                yield OrderClosed(order_id, why)

    def evolve(self, state: OrderState, event: OrderPlaced | OrderPaid | OrderClosed) -> OrderState:
        phases: dict[type, str] = {OrderPlaced: "placed", OrderPaid: "paid", OrderClosed: "closed"}
        return OrderState(phases[type(event)])


class Stock(Decider[HoldGoods | GiveGoodsBack, frozenset[str], GoodsHeld | GoodsGivenBack]):
    """One of each item is there, save of those called `none`."""

    initial = frozenset()

    def decide(self, command: HoldGoods | GiveGoodsBack, state: frozenset[str]) -> Iterator[GoodsHeld | GoodsGivenBack]:
        match command:
            case HoldGoods(item, order_id):
                if item == "none" or state - {order_id}:
                    raise SoldOut(f"there is no {item} left")
                if order_id not in state:
                    yield GoodsHeld(item, order_id)
            case GiveGoodsBack(item, order_id) if order_id in state:
                yield GoodsGivenBack(item, order_id)

    def evolve(self, state: frozenset[str], event: GoodsHeld | GoodsGivenBack) -> frozenset[str]:
        return state | {event.order_id} if isinstance(event, GoodsHeld) else state - {event.order_id}


ROUTES = [
    route(Order(), (PlaceOrder, PayOrder, CloseOrder), stream=lambda command: stream_id("order", command.order_id)),
    route(Stock(), (HoldGoods, GiveGoodsBack), stream=lambda command: stream_id("stock", command.item)),
]

Phase: TypeAlias = str


class State(msgspec.Struct, frozen=True):
    item: str = ""
    phase: Phase = "new"


def _ours(event: GoodsHeld) -> str | None:
    """Goods held for others than orders are none of the process's."""
    return event.order_id if not event.order_id.startswith("gift") else None


class Fulfilment(ProcessManager[State]):
    retry = Retry(attempts=3, first_pause=0.01, longest_pause=0.02)
    initial = State()

    @starts(OrderPlaced, key="order_id")
    def placed(self, event: OrderPlaced, state: State, moment: Moment) -> Iterator[Reaction]:
        if event.item == "poison":
            raise ValueError("poison")
        yield Send(Sing(event.order_id) if event.item == "song" else HoldGoods(event.item, event.order_id))
        yield SetDeadline("payment", moment.now + PATIENCE)
        yield Become(State(event.item, "holding"))

    @continues(GoodsHeld, key=_ours)
    def held(self, event: GoodsHeld, state: State, moment: Moment) -> Iterator[Reaction]:
        yield Become(State(state.item, "held"))

    @continues(OrderPaid, key="order_id")
    def paid(self, event: OrderPaid, state: State, moment: Moment) -> Iterator[Reaction]:
        yield CancelDeadline("payment")
        yield Become(State(state.item, "paid"))
        yield Done()

    @on_deadline("payment")
    def overdue(self, deadline: DeadlinePassed, state: State, moment: Moment) -> Iterator[Reaction]:
        yield Send(CloseOrder(deadline.key, "not paid"))
        yield Send(GiveGoodsBack(state.item, deadline.key))
        yield Done()

    @on_refusal(HoldGoods)
    def sold_out(self, refusal: CommandTurnedDown, state: State, moment: Moment) -> Iterator[Reaction]:
        yield Send(CloseOrder(refusal.key, refusal.reason))
        yield Done()

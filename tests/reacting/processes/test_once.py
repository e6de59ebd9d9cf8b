"""Once in effect: what comes again, comes late, or cannot be meant, leads to nothing twice and holds up nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sacho.errors import DuplicateConsumer, InvalidConsumer
from sacho.events import CommandTurnedDown, DeadlinePassed, ProcessAdvanced
from sacho.reacting import (
    Application,
    Become,
    Consumer,
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
from sacho.reacting.processes.advancing import Advancing
from sacho.reacting.sending import Commands, Sending, _Sent
from sacho.reacting.taking import Surroundings
from tests.reacting.domain import until
from tests.reacting.processes.conftest import Shop
from tests.reacting.processes.shop import (
    ROUTES,
    CloseOrder,
    Fulfilment,
    GiveGoodsBack,
    GoodsHeld,
    HoldGoods,
    OrderClosed,
    OrderPaid,
    OrderPlaced,
    PayOrder,
    PlaceOrder,
    SoldOut,
    State,
)


def anew(shop: Shop, tmp_path: Path, *consumers: type[Consumer]) -> Application:
    """Return an application on the same log whose checkpoints are lost, so that all comes again."""
    return Application(
        shop.store,
        consumers=consumers or (Fulfilment,),
        routes=ROUTES,
        views=f"sqlite:///{tmp_path / 'lost.db'}",
        clock=shop.clock,
    )


class Patient(ProcessManager[State]):
    """Holds goods a day later."""

    initial = State()

    @starts(OrderPlaced, key="order_id")
    def placed(self, event: OrderPlaced, state: State, moment: Moment) -> Iterator[Reaction]:
        yield Send(HoldGoods(event.item, event.order_id), at=moment.now + timedelta(days=1))

    @on_refusal(HoldGoods)
    def sold_out(self, refusal: CommandTurnedDown, state: State, moment: Moment) -> Iterator[Reaction]:
        yield Send(CloseOrder(refusal.key, refusal.reason))
        yield Done()


def test_a_command_whose_refusal_was_told_stays_refused_when_it_comes_again(shop: Shop, tmp_path: Path) -> None:
    """The process has gone on by the refusal. That the goods are there by now, changes nothing."""
    with shop.running() as app:
        app.bus.handle(HoldGoods("book", "gift-1"))
        app.bus.handle(PlaceOrder("o1", "book"))
        shop.until(OrderClosed("o1", "there is no book left"))
        app.bus.handle(GiveGoodsBack("book", "gift-1"))
        app.bus.store(HoldGoods("pen", "gift-2"))
        shop.until(GoodsHeld("pen", "gift-2"))
    before = [one.id for one in shop.store.read_all()]
    with anew(shop, tmp_path) as app:
        app.run(once=True)
    assert [one.id for one in shop.store.read_all()] == before


def test_a_stored_command_that_was_refused_stays_refused_when_it_comes_again(shop: Shop, tmp_path: Path) -> None:
    with shop.running() as app:
        app.bus.handle(HoldGoods("book", "gift-1"))
        app.bus.store(HoldGoods("book", "gift-2"), command_id="n1")
        until(lambda: len(list(shop.store.read("sacho_command-n1"))) == 2)
        app.bus.handle(GiveGoodsBack("book", "gift-1"))
    with anew(shop, tmp_path) as app:
        app.run(once=True)
    assert shop.events(GoodsHeld) == [GoodsHeld("book", "gift-1")]


def sending(shop: Shop, app: Application) -> Sending:
    """Return what sends commands, as one of several workers has it."""
    here = Surroundings(shop.store, app.bus, shop.clock, lambda: None)  # type: ignore[arg-type, return-value]
    return Sending(Commands([Fulfilment()]), here)


def test_of_two_workers_that_send_one_command_one_is_refused_or_the_other_is_effective_and_never_both(
    shop: Shop,
) -> None:
    """The one was stopped with the command in hand, whose refusal the other told; by now it would be accepted."""
    with shop.application() as app:
        app.bus.handle(HoldGoods("book", "gift-1"))
        shop.store.append("order-o1", [OrderPlaced("o1", "book")])
        here = Surroundings(shop.store, app.bus, shop.clock, lambda: None)  # type: ignore[arg-type, return-value]
        Advancing(Fulfilment(), here).take(list(shop.store.read("order-o1")), is_replay=False)
        steps = list(shop.store.read("fulfilment-o1"))
        sending(shop, app).take(steps, is_replay=False)
        app.bus.handle(GiveGoodsBack("book", "gift-1"))
        sending(shop, app).take(steps, is_replay=False)
        assert shop.events(GoodsHeld) == [GoodsHeld("book", "gift-1")]
        assert len(list(shop.store.read("sacho_refusal-fulfilment-o1"))) == 1


def test_a_refusal_that_comes_after_the_command_was_effective_is_not_told(shop: Shop) -> None:
    with shop.application() as app:
        shop.store.append("order-o1", [OrderPlaced("o1", "book")])
        here = Surroundings(shop.store, app.bus, shop.clock, lambda: None)  # type: ignore[arg-type, return-value]
        Advancing(Fulfilment(), here).take(list(shop.store.read("order-o1")), is_replay=False)
        steps = list(shop.store.read("fulfilment-o1"))
        (sent,) = steps[0].event.commands
        late = _Sent(steps[0])
        command = late.next()
        assert command is not None
        late.refusal_id = app.bus.refusal(HoldGoods("book", "o1"), sent.id).id
        sending(shop, app).take(steps, is_replay=False)
        sending(shop, app)._tell(late, command, SoldOut("there is none"))
        assert shop.events(GoodsHeld) == [GoodsHeld("book", "o1")]
        assert list(shop.store.read("sacho_refusal-fulfilment-o1")) == []


def test_a_refusal_belongs_to_the_conversation_and_says_what_led_to_it(shop: Shop) -> None:
    with shop.running() as app:
        outcome = app.bus.handle(PlaceOrder("o1", "none"), metadata={"correlation_id": "talk"})
        shop.until(OrderClosed("o1", "there is no none left"))
    assert outcome.events
    found = {str(one.id): one for one in shop.store.read_all()}
    assert {one.metadata["correlation_id"] for one in found.values()} == {"talk"}
    closed = next(one for one in found.values() if isinstance(one.event, OrderClosed))
    chain = []
    while closed is not None:
        chain.append(closed.type)
        closed = found.get(str(closed.metadata["causation_id"]))  # type: ignore[assignment]
    told = ["sacho.process-advanced", "sacho.command-turned-down", "sacho.process-advanced"]
    assert chain == ["shop.order-closed", *told, "shop.order-placed"]


def test_the_refusal_of_a_command_for_later_is_told_to_the_process_that_sent_it(shop: Shop) -> None:
    with shop.running(Patient) as app:
        app.bus.handle(PlaceOrder("o1", "none"))
        until(lambda: app.administration.processes.find())
        shop.clock.advance(days=1)
        shop.until(OrderClosed("o1", "there is no none left"))
        until(lambda: [one.key for one in app.administration.processes.find(only="done")] == ["o1"])


def test_a_command_for_later_that_cannot_be_handled_shows_its_process_as_stuck(shop: Shop) -> None:
    class Silent(ProcessManager[State]):
        initial = State()

        @starts(OrderPlaced, key="order_id")
        def placed(self, event: OrderPlaced, state: State, moment: Moment) -> Iterator[Reaction]:
            yield Send(HoldGoods(event.item, event.order_id), at=moment.now)

    with shop.running(Silent) as app:
        app.bus.handle(PlaceOrder("o1", "none"))
        until(lambda: app.administration.processes.find(only="stuck"))
        (stuck,) = app.administration.processes.find(only="stuck")
        assert (stuck.key, "SoldOut" in (stuck.stuck or "")) == ("o1", True)


def test_a_key_too_long_for_the_streams_of_its_deadlines_is_parked_and_others_deadlines_pass(shop: Shop) -> None:
    longest = "k" * (255 - len("sacho_deadline-fulfilment-"))
    with shop.running() as app:
        shop.store.append("order-long", [OrderPlaced(longest + "k", "book")])
        shop.store.append("order-other", [OrderPlaced(longest, "pen")])
        shop.store.append("order-odd", [OrderPlaced("ö-'\"%_\\ /?#", "tea")])
        until(lambda: len(shop.events(GoodsHeld)) == 2)
        until(lambda: app.administration.parked(Fulfilment))
        (parked,) = app.administration.parked(Fulfilment)
        assert "InvalidName" in (parked.error or "")
        shop.clock.advance(hours=1)
        until(lambda: len(shop.events(OrderClosed)) == 2)
    assert {one.order_id for one in shop.events(OrderClosed)} == {longest, "ö-'\"%_\\ /?#"}  # type: ignore[attr-defined]


def test_a_worker_that_others_have_passed_goes_on_from_what_the_log_says(shop: Shop) -> None:
    """It computes two steps on what it knows, while another has taken the first, at another time of its clock."""
    with shop.application() as app:
        here = Surroundings(shop.store, app.bus, shop.clock, lambda: None)  # type: ignore[arg-type, return-value]
        late, fast = Advancing(Fulfilment(), here), Advancing(Fulfilment(), here)
        shop.store.append("order-o1", [OrderPlaced("o1", "book")])
        shop.store.append("stock-book", [GoodsHeld("book", "o1")])
        events = list(shop.store.read_all())
        fast.take(events[:1], is_replay=False)
        shop.clock.advance(minutes=1)
        late.take(events, is_replay=False)
        late.take(events, is_replay=False)
        fast.take(events, is_replay=False)
    steps = [one.event for one in shop.store.read("fulfilment-o1")]
    assert [one.input_position for one in steps] == [1, 2]
    assert steps[0].deadlines == steps[1].deadlines


def test_steps_that_are_in_the_log_under_another_category_are_not_taken_again(shop: Shop, tmp_path: Path) -> None:
    class Renamed(Fulfilment):
        name = "fulfilment"
        category = "other"

    with shop.running() as app:
        app.bus.handle(PlaceOrder("o1", "book"))
        shop.until(GoodsHeld("book", "o1"))
        until(lambda: len(list(shop.store.read("fulfilment-o1"))) == 2)
    with anew(shop, tmp_path, Renamed) as app:
        app.run(once=True)
    assert list(shop.store.read("other-o1")) == []


def test_two_process_managers_of_one_category_are_refused(shop: Shop) -> None:
    class Other(Fulfilment):
        category = "fulfilment"

    with pytest.raises(DuplicateConsumer, match="the category 'fulfilment'"):
        shop.application(Fulfilment, Other)


def test_a_process_manager_does_not_go_on_with_the_processes_of_another(shop: Shop) -> None:
    class Other(Fulfilment):
        category = "fulfilment"

    with shop.running() as app:
        app.bus.handle(PlaceOrder("o1", "book"))
        shop.until(GoodsHeld("book", "o1"))
    with shop.running(Other) as app:
        until(lambda: app.administration.parked(Other))
        assert "has the category of 'fulfilment'" in (app.administration.parked(Other)[0].error or "")


def test_a_key_that_is_no_field_of_the_event_is_refused_at_once() -> None:
    with pytest.raises(InvalidConsumer, match="has no field 'oder_id'"):

        class Wrong(ProcessManager[State]):
            initial = State()

            @starts(OrderPlaced, key="oder_id")
            def placed(self, event: OrderPlaced, state: State, moment: Moment) -> Iterator[Reaction]:
                yield Done()


def test_processes_whose_class_was_changed_go_on_without_ceremony(shop: Shop) -> None:
    """Their states are in the log; those that no longer decode are parked with the reason, and the rest goes on."""

    class Wider(msgspec.Struct, frozen=True):
        item: str = ""
        phase: str = "new"
        notes: tuple[str, ...] = ()

    class Changed(ProcessManager[Wider]):
        name = "fulfilment"
        initial = Wider()

        @starts(OrderPlaced, key="order_id")
        def placed(self, event: OrderPlaced, state: Wider, moment: Moment) -> Iterator[Reaction]:
            yield Become(Wider(event.item))

        @continues(OrderPaid, key="order_id")
        def paid(self, event: OrderPaid, state: Wider, moment: Moment) -> Iterator[Reaction]:
            yield Become(Wider(state.item, "thanked", ("thanks",)))

    class Foreign(ProcessManager[int]):
        name = "fulfilment"
        initial = 0

        @starts(OrderPlaced, key="order_id")
        def placed(self, event: OrderPlaced, state: int, moment: Moment) -> Iterator[Reaction]:
            yield Become(state + 1)

        @continues(OrderPaid, key="order_id")
        def paid(self, event: OrderPaid, state: int, moment: Moment) -> Iterator[Reaction]:
            yield Become(state + 1)

    def last(key: str) -> Any:
        return [one.event for one in shop.store.read(f"fulfilment-{key}") if isinstance(one.event, ProcessAdvanced)][-1]

    with shop.running() as app:
        for key, item in (("o1", "book"), ("o2", "pen")):
            app.bus.handle(PlaceOrder(key, item))
            shop.until(GoodsHeld(item, key))
    with shop.running(Changed) as app:
        app.bus.handle(PayOrder("o1"))
        until(lambda: last("o1").state == {"item": "book", "phase": "thanked", "notes": ["thanks"]})
    with shop.running(Foreign) as app:
        app.bus.handle(PayOrder("o2"))
        app.bus.handle(PlaceOrder("o3", "tea"))
        until(lambda: list(shop.store.read("fulfilment-o3")) and last("o3").state == 1)
        until(lambda: app.administration.parked("fulfilment"))
        assert "ValidationError" in (app.administration.parked("fulfilment")[0].error or "")


# --- times at the edges -------------------------------------------------------------------------------

EDGES: dict[str, Callable[[datetime], datetime]] = {
    "past": lambda now: datetime.min.replace(tzinfo=UTC),
    "soon": lambda now: now + timedelta(microseconds=1),
    "far": lambda now: datetime.max.replace(tzinfo=UTC),
    "beyond": lambda now: datetime.fromisoformat("9999-12-31T23:59:59-14:00"),
    "before": lambda now: datetime.fromisoformat("0001-01-01T00:00:00+14:00"),
}


class Edges(ProcessManager[State]):
    initial = State()

    @starts(OrderPlaced, key="order_id")
    def placed(self, event: OrderPlaced, state: State, moment: Moment) -> Iterator[Reaction]:
        at = EDGES[event.item.removeprefix("deadline ")](moment.now)
        yield SetDeadline("edge", at) if event.item.startswith("deadline") else Send(PayOrder(event.order_id), at=at)

    @on_deadline("edge")
    def edge(self, deadline: DeadlinePassed, state: State, moment: Moment) -> Iterator[Reaction]:
        yield Send(PayOrder(deadline.key))


def test_times_at_the_edges_of_the_calendar_hold_up_nobody(shop: Shop) -> None:
    names = [kind + name for kind in ("", "deadline ") for name in EDGES]
    with shop.running(Edges) as app:
        for name in names:
            app.bus.handle(PlaceOrder(name.replace(" ", "-"), name))
        until(lambda: len(app.administration.parked(Edges)) == 4)
        assert all("InvalidReaction" in (one.error or "") for one in app.administration.parked(Edges))
        shop.clock.advance(seconds=1)
        until(lambda: len(shop.events(OrderPaid)) == 4)
        find = app.administration.processes.find
        until(lambda: len(find(only="running")) == 6)
        assert max(one.next_due for one in find(only="running") if one.next_due).year == 9999
    paid = {one.order_id for one in shop.events(OrderPaid)}  # type: ignore[attr-defined]
    assert paid == {"past", "soon", "deadline-past", "deadline-soon"}

"""Process managers in an application: one event leads to the next step, over entities, time, restarts and refusals."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from sacho.errors import InvalidConsumer, UnknownConsumer
from sacho.events import ProcessAdvanced
from sacho.reacting import Application, Moment, continues
from tests.reacting.domain import until
from tests.reacting.processes.conftest import Shop
from tests.reacting.processes.shop import (
    PATIENCE,
    ROUTES,
    Fulfilment,
    GoodsGivenBack,
    GoodsHeld,
    HoldGoods,
    OrderClosed,
    OrderPaid,
    OrderPlaced,
    PayOrder,
    PlaceOrder,
    State,
)


def test_a_command_of_a_process_is_handled_by_the_entity_that_it_is_for(shop: Shop) -> None:
    with shop.running() as app:
        app.bus.handle(PlaceOrder("o1", "book"))
        shop.until(GoodsHeld("book", "o1"))


def test_a_step_is_one_append_with_the_input_the_state_the_commands_and_the_deadlines(shop: Shop) -> None:
    with shop.running() as app:
        outcome = app.bus.handle(PlaceOrder("o1", "book"))
        shop.until(GoodsHeld("book", "o1"))
    first = next(iter(shop.store.read("fulfilment-o1")))
    step = first.event
    assert isinstance(step, ProcessAdvanced)
    placed = next(iter(shop.store.read("order-o1")))
    assert (step.input_id, step.input_position) == (str(placed.id), outcome.position)
    assert step.state == {"item": "book", "phase": "holding"}
    assert [one.command for one in step.commands] == ["HoldGoods"]
    assert step.deadlines["payment"].due_at == shop.clock.now + PATIENCE
    assert first.metadata["causation_id"] == str(placed.id)
    held = next(iter(shop.store.read("stock-book")))
    assert held.metadata["causation_id"] == str(first.id)
    assert held.metadata["correlation_id"] == placed.metadata["correlation_id"]
    assert held.metadata["actor"] == "process:fulfilment"


def test_a_deadline_passes_at_its_time_and_not_before(shop: Shop) -> None:
    with shop.running() as app:
        app.bus.handle(PlaceOrder("o1", "book"))
        app.bus.handle(PlaceOrder("o2", "pen"))
        shop.until(GoodsHeld("book", "o1"))
        shop.until(GoodsHeld("pen", "o2"))
        app.bus.handle(PayOrder("o2"))
        shop.clock.advance(minutes=14)
        until(lambda: app.administration.processes.find(only="done"))
        assert shop.events(OrderClosed) == []
        shop.clock.advance(minutes=1)
        shop.until(OrderClosed("o1", "not paid"))
        shop.until(GoodsGivenBack("book", "o1"))
    assert shop.events(OrderClosed) == [OrderClosed("o1", "not paid")]


def test_a_deadline_passes_after_a_restart_and_with_a_clock_that_was_set_back_in_between(shop: Shop) -> None:
    with shop.running() as app:
        app.bus.handle(PlaceOrder("o1", "book"))
        shop.until(GoodsHeld("book", "o1"))
        until(lambda: app.administration.processes.find())
    shop.clock.advance(days=-1)
    with shop.running() as app:
        shop.clock.advance(days=3)
        shop.until(OrderClosed("o1", "not paid"))
    assert len(list(shop.store.read("sacho_deadline-fulfilment-o1"))) == 1


def test_a_refused_command_is_told_to_the_process_that_sent_it(shop: Shop) -> None:
    with shop.running() as app:
        app.bus.handle(PlaceOrder("o1", "none"))
        shop.until(OrderClosed("o1", "there is no none left"))


def test_events_that_come_again_lead_to_nothing_more(shop: Shop, tmp_path: Path) -> None:
    """The views' database, and with it all checkpoints, may be lost: processes go by their own streams."""
    with shop.running() as app:
        app.bus.handle(PlaceOrder("o1", "book"))
        app.bus.handle(PlaceOrder("o2", "none"))
        shop.until(GoodsHeld("book", "o1"))
        shop.until(OrderClosed("o2", "there is no none left"))
        app.bus.handle(PayOrder("o1"))
        until(lambda: len(app.administration.processes.find(only="done")) == 2)
    before = [one.id for one in shop.store.read_all()]
    others = f"sqlite:///{tmp_path / 'others.db'}"
    with Application(shop.store, consumers=[Fulfilment], routes=ROUTES, views=others) as app:
        app.run(once=True)
    assert [one.id for one in shop.store.read_all()] == before


def test_a_method_with_the_name_of_one_that_every_process_manager_has_is_refused() -> None:
    with pytest.raises(InvalidConsumer, match=r"taken\(\) is a method of every process manager"):

        class Hiding(Fulfilment):
            @continues(OrderClosed, key="order_id")
            def taken(self, event: OrderClosed, state: State, moment: Moment) -> None:  # type: ignore[override]
                """Hides how an event is taken."""


def test_a_process_manager_without_routes_is_refused(shop: Shop) -> None:
    with pytest.raises(InvalidConsumer, match="routes none"):
        Application(shop.store, consumers=[Fulfilment])


# --- stuck --------------------------------------------------------------------------------------------


def test_an_event_that_a_process_cannot_take_is_parked_and_other_processes_go_on(shop: Shop) -> None:
    with shop.running() as app:
        app.bus.handle(PlaceOrder("o1", "poison"))
        app.bus.handle(PlaceOrder("o2", "book"))
        shop.until(GoodsHeld("book", "o2"))
        until(lambda: app.administration.processes.find(only="stuck"))
        (stuck,) = app.administration.processes.find(only="stuck")
        assert (stuck.key, stuck.standing, stuck.stuck) == ("o1", "stuck", "ValueError: poison")
        until(lambda: [one.key for one in app.administration.processes.find(only="running")] == ["o2"])


def test_a_reply_for_an_unknown_process_is_parked_at_once_with_the_reason(shop: Shop) -> None:
    with shop.running() as app:
        shop.store.append("order-o9", [OrderPaid("o9")])
        app.bus.handle(PlaceOrder("o2", "book"))
        shop.until(GoodsHeld("book", "o2"))
        until(lambda: app.administration.parked(Fulfilment))
        (parked,) = app.administration.parked(Fulfilment)
        assert parked.attempts == 1
        assert "there is no process 'o9' of fulfilment" in (parked.error or "")


def test_a_command_without_a_handler_is_parked_at_once_with_the_event_and_shows_as_stuck(shop: Shop) -> None:
    with shop.running() as app:
        app.bus.handle(PlaceOrder("o1", "song"))
        app.bus.handle(PlaceOrder("o2", "book"))
        shop.until(GoodsHeld("book", "o2"))
        until(lambda: app.administration.processes.find(only="stuck"))
        (stuck,) = app.administration.processes.find(Fulfilment, only="stuck")
        assert (stuck.key, stuck.version) == ("o1", 0)
        assert "no handler for Sing" in (stuck.stuck or "")
        detail = app.administration.processes.show("fulfilment", "o1")
        assert [(one.consumer, one.attempts) for one in detail.parked] == [("fulfilment", 1)]


def test_a_command_whose_handler_is_gone_is_parked_and_goes_out_once_there_is_one_again(shop: Shop) -> None:
    orders, stock = ROUTES
    app = Application(shop.store, consumers=[Fulfilment], routes=[orders, stock], views=shop.views, clock=shop.clock)
    with app, app.running(lease_seconds=1.0):
        app.bus.store(HoldGoods("pen", "gift-1"), at=shop.clock.now + timedelta(hours=1))
        until(lambda: app.store.head() == 1)
    shop.clock.advance(hours=2)
    with Application(shop.store, routes=[orders], views=shop.views, clock=shop.clock) as app, app.running():
        until(lambda: app.administration.parked("sacho-commands"))
        (parked,) = app.administration.parked("sacho-commands")
        assert parked.attempts == 1
        assert "no handler for HoldGoods" in (parked.error or "")
    with shop.running() as app:
        app.administration.retry("sacho-commands")
        shop.until(GoodsHeld("pen", "gift-1"))


def test_a_stuck_process_goes_on_when_it_is_retried_after_the_cause_was_mended(shop: Shop) -> None:
    class Mended(Fulfilment):
        name = "fulfilment"

        def placed(self, event, state, moment):  # type: ignore[no-untyped-def]
            return super().placed(OrderPlaced(event.order_id, "book"), state, moment)

        placed.__sacho_takes__ = Fulfilment.placed.__sacho_takes__  # type: ignore[attr-defined]

    with shop.running() as app:
        app.bus.handle(PlaceOrder("o1", "poison"))
        until(lambda: app.administration.processes.find(only="stuck"))
    with shop.application(Mended) as app:
        app.administration.accept(Mended)
        assert app.administration.processes.retry("fulfilment", "o1") == 1
        with app.running(lease_seconds=1.0):
            shop.until(GoodsHeld("book", "o1"))
            until(lambda: not app.administration.processes.find(only="stuck"))


def test_processes_that_took_no_step_for_long_are_found(shop: Shop) -> None:
    with shop.running() as app:
        app.bus.handle(PlaceOrder("o1", "book"))
        shop.until(GoodsHeld("book", "o1"))
        until(lambda: app.administration.processes.find())
        later = shop.clock.now + timedelta(hours=2)
        find = app.administration.processes.find
        assert [one.key for one in find(idle_for=timedelta(hours=1), now=later)] == ["o1"]
        assert find(idle_for=timedelta(hours=3), now=later) == []


def test_what_is_not_known_is_named(shop: Shop) -> None:
    with shop.application() as app:
        with pytest.raises(UnknownConsumer, match="process manager 'tea'"):
            app.administration.processes.show("tea", "o1")
        with pytest.raises(UnknownConsumer, match="process 'o1' of fulfilment"):
            app.administration.processes.show(Fulfilment, "o1")

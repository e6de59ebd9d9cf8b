"""Sending: commands that were stored, or sent by processes, go to the bus once in effect, in order, and do not hold each other up."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec

from sacho import Envelope, call
from sacho.events import CommandDue, CommandTurnedDown
from sacho.reacting import Application
from tests.reacting.domain import until
from tests.reacting.processes.conftest import Shop
from tests.reacting.processes.shop import (
    ROUTES,
    Fulfilment,
    GiveGoodsBack,
    GoodsHeld,
    HoldGoods,
    OrderClosed,
    PlaceOrder,
)


class Note(msgspec.Struct, frozen=True):
    text: str


class Notes:
    """Takes notes; `poison` fails until it is cured."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.is_cured = False

    def take(self, command: Note, envelope: Envelope) -> None:
        if command.text.startswith("poison") and not self.is_cured:
            raise ValueError(command.text)
        self.taken.append(command.text)

    def application(self, shop: Shop) -> Application:
        routes = [*ROUTES, call(self.take, Note)]
        return Application(shop.store, consumers=[Fulfilment], routes=routes, views=shop.views, clock=shop.clock)


def test_a_stored_command_is_handled_in_the_background(shop: Shop) -> None:
    with shop.running() as app:
        app.bus.store(HoldGoods("book", "gift-1"), actor="ann")
        shop.until(GoodsHeld("book", "gift-1"))
    held = next(iter(shop.store.read("stock-book")))
    assert held.metadata["actor"] == "ann"


def test_a_command_for_later_goes_out_at_its_time_and_once(shop: Shop) -> None:
    notes = Notes()
    with notes.application(shop) as app, app.running(lease_seconds=1.0):
        app.bus.store(Note("tea"), at=shop.clock.now + timedelta(hours=1), command_id="n1")
        app.bus.store(Note("now"))
        until(lambda: notes.taken)
        shop.clock.advance(minutes=59)
        app.bus.store(Note("still"))
        until(lambda: len(notes.taken) == 2)
        shop.clock.advance(minutes=1)
        until(lambda: "tea" in notes.taken)
    assert notes.taken == ["now", "still", "tea"]
    with notes.application(shop) as app:
        app.run(once=True)
    assert notes.taken == ["now", "still", "tea"]


def test_a_command_that_was_replaced_or_withdrawn_does_not_go_out(shop: Shop) -> None:
    notes, later = Notes(), shop.clock.now + timedelta(hours=1)
    with notes.application(shop) as app, app.running(lease_seconds=1.0):
        app.bus.store(Note("old"), at=later, command_id="n1")
        app.bus.store(Note("gone"), at=later, command_id="n2")
        assert app.bus.replace("n1", Note("new"), at=later) is not None
        assert app.bus.withdraw("n2")
        shop.clock.advance(hours=1)
        until(lambda: notes.taken)
        app.bus.store(Note("last"))
        until(lambda: "last" in notes.taken)
        assert not app.bus.withdraw("n1")
    assert notes.taken == ["new", "last"]
    assert sum(isinstance(one.event, CommandDue) for one in shop.store.read_all()) == 1


def test_commands_of_one_key_are_handled_in_the_order_of_the_log(shop: Shop) -> None:
    notes = Notes()
    with notes.application(shop) as app:
        for number in range(200):
            app.bus.store(Note(f"{number % 4} {number:03}"), key=f"of {number % 4}")
        app.run(once=True)
    assert len(notes.taken) == 200
    for key in "0123":
        of_key = [text for text in notes.taken if text.startswith(key)]
        assert of_key == sorted(of_key)


def test_one_that_fails_is_parked_with_its_key_and_the_others_are_called_once(shop: Shop) -> None:
    notes = Notes()
    with notes.application(shop) as app:
        for number in range(30):
            app.bus.store(Note(f"{number}"), key=f"of {number}")
        app.bus.store(Note("poison"), key="of poison")
        app.bus.store(Note("behind"), key="of poison")
        for number in range(30, 60):
            app.bus.store(Note(f"{number}"), key=f"of {number}")
        app.run(once=True)
        assert sorted(notes.taken, key=int) == [str(number) for number in range(60)]
        parked = app.administration.parked("sacho-commands")
        assert [one.error for one in parked] == ["ValueError: poison", None]
        notes.is_cured = True
        app.administration.retry("sacho-commands")
        app.run(once=True)
    assert notes.taken[60:] == ["poison", "behind"]


def test_a_stored_command_that_is_refused_says_so_in_its_stream_and_holds_up_nobody(shop: Shop) -> None:
    with shop.running() as app:
        app.bus.store(HoldGoods("none", "gift-1"), command_id="n1", key="gifts")
        app.bus.store(HoldGoods("pen", "gift-2"), key="gifts")
        shop.until(GoodsHeld("pen", "gift-2"))
        assert app.administration.parked("sacho-commands") == []
    told = [one.event for one in shop.store.read_all() if isinstance(one.event, CommandTurnedDown)]
    assert [(one.command_id, one.error, one.reason) for one in told] == [("n1", "SoldOut", "there is no none left")]


def test_a_command_that_was_refused_is_not_handled_when_it_goes_out_again(shop: Shop, tmp_path: Path) -> None:
    """Its process has gone on by the refusal; meanwhile the command might be accepted."""
    with shop.running() as app:
        app.bus.handle(HoldGoods("book", "gift-1"))
        app.bus.handle(PlaceOrder("o1", "book"))
        shop.until(OrderClosed("o1", "there is no book left"))
        app.bus.handle(GiveGoodsBack("book", "gift-1"))
    others = f"sqlite:///{tmp_path / 'others.db'}"
    with Application(shop.store, consumers=[Fulfilment], routes=ROUTES, views=others, clock=shop.clock) as app:
        app.run(once=True)
    assert shop.events(GoodsHeld) == [GoodsHeld("book", "gift-1")]

"""Process managers by their rules, without a log: given what came, when something comes, then these reactions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from sacho import event
from sacho.errors import InvalidConsumer, InvalidReaction, UnknownProcess
from sacho.events import DeadlinePassed
from sacho.reacting import (
    Become,
    CancelDeadline,
    Done,
    Moment,
    ProcessManager,
    Reaction,
    Send,
    SetDeadline,
    starts,
)
from sacho.testing import given_process
from tests.reacting.processes.shop import (
    PATIENCE,
    CloseOrder,
    Fulfilment,
    GiveGoodsBack,
    GoodsHeld,
    HoldGoods,
    OrderPaid,
    OrderPlaced,
    SoldOut,
    State,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PLACED = OrderPlaced("o1", "book")
given = given_process(Fulfilment(), now=NOW)


def test_an_event_that_begins_a_process_leads_to_commands_a_deadline_and_a_state() -> None:
    given().when(PLACED).then(
        Send(HoldGoods("book", "o1")), SetDeadline("payment", NOW + PATIENCE), Become(State("book", "holding"))
    ).state_is(State("book", "holding")).deadlines_are({"payment": NOW + PATIENCE})


def test_a_deadline_that_passes_is_taken_at_its_time_and_is_over() -> None:
    when = given(PLACED).when_due("payment")
    when.then_sends(CloseOrder("o1", "not paid"), GiveGoodsBack("book", "o1")).is_done().deadlines_are({})


def test_a_deadline_that_was_cancelled_or_set_anew_does_nothing_when_it_passes() -> None:
    late = DeadlinePassed("fulfilment", "o1", "payment", NOW + PATIENCE, 1)
    given(PLACED, OrderPaid("o1")).when(late).then_nothing()
    given(PLACED, DeadlinePassed("fulfilment", "o1", "payment", NOW, 7)).when(late).then_sends(
        CloseOrder("o1", "not paid"), GiveGoodsBack("book", "o1")
    )


def test_a_process_that_is_done_takes_nothing_more() -> None:
    given(PLACED, OrderPaid("o1")).when(OrderPaid("o1")).then_nothing()
    given(PLACED, OrderPaid("o1")).when(PLACED).then_nothing()


def test_done_drops_all_deadlines() -> None:
    given(PLACED).when(OrderPaid("o1")).then(CancelDeadline("payment"), Become(State("book", "paid")), Done()).is_done()


def test_a_refusal_is_taken_by_the_method_for_its_command() -> None:
    when = given(PLACED).when_refused(HoldGoods("book", "o1"), SoldOut("there is no book left"))
    when.then_sends(CloseOrder("o1", "there is no book left")).is_done()


def test_an_event_for_a_process_that_was_never_begun_is_an_error_and_one_of_others_is_none() -> None:
    error = given().when(OrderPaid("o9")).then_fails(UnknownProcess)
    assert (error.process, error.key, error.type) == ("fulfilment", "o9", "shop.order-paid")  # type: ignore[attr-defined]
    given().when(GoodsHeld("book", "gift-1")).then_nothing()


def test_what_the_method_raises_is_told() -> None:
    given().when(OrderPlaced("o1", "poison")).then_fails(ValueError, "poison")


def test_time_never_runs_backwards_for_a_process() -> None:
    early = given(PLACED).at(NOW - timedelta(hours=1)).when(OrderPaid("o1")).after
    assert early._process.last is not None and early._process.last.at == NOW


@pytest.mark.parametrize(
    ("reaction", "text"),
    [
        (SetDeadline("payment", datetime(2026, 1, 1)), "no datetime with a time zone"),
        (SetDeadline("tea", NOW), "no method is marked by @on_deadline('tea')"),
        (Become("tired"), "its states are of State"),
        (HoldGoods("book", "o1"), "yield Send, SetDeadline, CancelDeadline, Become or Done"),
    ],
    ids=["no-zone", "no-method", "no-state", "no-reaction"],
)
def test_a_reaction_that_cannot_be_meant_is_refused(reaction: object, text: str) -> None:
    class Odd(Fulfilment):
        name = "odd"

        def placed(self, event: object, state: object, moment: object) -> list[object]:  # type: ignore[override]
            return [reaction]

        placed.__sacho_takes__ = Fulfilment.placed.__sacho_takes__  # type: ignore[attr-defined]

    given_process(Odd(), now=NOW)().when(PLACED).then_fails(InvalidReaction, text)


@event(type="shop.parcel-sent")
@dataclass(frozen=True)
class ParcelSent:
    parcel_id: str


def test_a_key_may_be_a_field_of_any_kind_of_event_class_and_one_that_is_none_is_refused() -> None:
    class Parcels(ProcessManager[State]):
        initial = State()

        @starts(ParcelSent, key="parcel_id")
        def sent(self, event: ParcelSent, state: State, moment: Moment) -> Iterator[Reaction]:
            yield Become(State(event.parcel_id))

    given_process(Parcels(), now=NOW)().when(ParcelSent("p1")).then(Become(State("p1")))
    with pytest.raises(InvalidConsumer, match="has no field 'parcel'"):
        starts(ParcelSent, key="parcel")

"""Simulation: the same for the same seed, hard on what it runs, and sure to find what is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import astuple

from sacho import CommandRefused, Envelope, RecordedEvent, call
from sacho.errors import InvalidConsumer, NoHandler
from sacho.events import CommandDue, CommandTurnedDown, CommandWithdrawn, DeadlinePassed, ProcessAdvanced
from sacho.reacting import Consumer, Context, Delivery, Message, PublicEvent, Relay, handles, one_by_one, publishes
from sacho.reacting.processes.stepping import Stepping
from sacho.testing import CALM, Actor, Chances, Simulation, SimulationFailed, World, simulate
from tests.reacting.processes.shop import (
    ROUTES,
    Fulfilment,
    GiveGoodsBack,
    GoodsHeld,
    HoldGoods,
    OrderClosed,
    OrderPaid,
    OrderPlaced,
    PlaceOrder,
    Sing,
    SoldOut,
    Stock,
)
from tests.testing.market import (
    SALES,
    Buy,
    Sale,
    every_process_ends,
    goods_are_held_by_one,
    market,
    money_is_taken_once,
    shopping,
)

ROOT = Path(__file__).parents[2]
SEEDS = 200
WITHIN = 200
"""Within how many seeds a fault must be found."""
HARSH = Chances(crash=0.2, unreachable=0.1, race=0.3, again=0.3, late=0.2, doubled=0.5, clock=0.1, time=0.2)


def digest(scenario: Callable[[World], None], seed: int) -> str:
    """All that there is to tell of a simulation: trace, counts, and all fields of all events as they are stored."""
    played = Simulation(scenario).run(seed)
    return f"{played.trace}\n{played.counts}\n" + "\n".join(repr(astuple(one)) for one in played.events)


def found(scenario: Callable[[World], None], *invariants: object, chances: Chances = Chances()) -> SimulationFailed:
    """The first seed that fails: it must fail again in just the same way."""
    with pytest.raises(SimulationFailed) as failed:
        simulate(scenario, seeds=range(WITHIN), invariants=invariants, chances=chances)  # type: ignore[arg-type]
    first = failed.value
    with pytest.raises(SimulationFailed) as failed:
        simulate(scenario, seeds=[first.seed], invariants=invariants, chances=chances)  # type: ignore[arg-type]
    assert (str(failed.value), str(failed.value.trace)) == (str(first), str(first.trace))
    assert failed.value.events == first.events
    return first


# --- what is sound stays sound ------------------------------------------------------------------------


@pytest.mark.parametrize("chances", [Chances(), HARSH, CALM], ids=["usual", "harsh", "calm"])
def test_money_is_taken_once_and_processes_end_whatever_goes_wrong(chances: Chances) -> None:
    simulate(market, seeds=range(SEEDS), invariants=[money_is_taken_once, every_process_ends], chances=chances)


def test_goods_are_held_by_one_whatever_goes_wrong() -> None:
    report = simulate(
        shopping, seeds=range(SEEDS), invariants=[every_process_ends], always=[goods_are_held_by_one], chances=HARSH
    )
    assert all(getattr(report.counts, name) > 0 for name in report.counts.__struct_fields__ if name != "refusals")


def test_a_calm_simulation_has_no_mishaps() -> None:
    counts = simulate(shopping, seeds=range(20), chances=CALM).counts
    assert (counts.crashes, counts.unreachable, counts.races, counts.set_back) == (0, 0, 0, 0)
    assert counts.duplicates == 0
    assert counts.deliveries > 0


# --- the same again -----------------------------------------------------------------------------------


def test_a_seed_leads_to_the_same_trace_and_the_same_log_each_time_and_another_seed_to_others() -> None:
    assert digest(shopping, 3) == digest(shopping, 3)
    assert digest(shopping, 3) != digest(shopping, 4)


def test_a_seed_leads_to_the_same_in_another_process_whatever_the_hash_seed() -> None:
    program = (
        "from tests.testing.market import market, shopping\n"
        "from tests.testing.test_simulation import digest\n"
        "print(*(digest(scenario, seed) for scenario in (market, shopping) for seed in range(10)), sep='\\n')\n"
    )
    texts = []
    for hash_seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ran.returncode == 0, ran.stderr
        texts.append(ran.stdout)
    own = "\n".join(digest(scenario, seed) for scenario in (market, shopping) for seed in range(10))
    assert texts[0] == texts[1] == own + "\n"


def test_ids_and_times_are_those_of_the_simulation() -> None:
    played = Simulation(market, start=(start := Simulation(market).run(1).events[0].recorded_at)).run(1)
    assert all(abs(one.recorded_at - start) < timedelta(days=1) for one in played.events)
    assert played.events[0].id.hex[:8] == f"{round(start.timestamp() * 1000) >> 16:08x}"


# --- what is broken is found --------------------------------------------------------------------------


def test_a_sender_whose_commands_have_no_lasting_ids_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from sacho.deciding import CommandBus

    submit = CommandBus.submit
    monkeypatch.setattr(CommandBus, "submit", lambda self, command, **more: submit(self, command))
    failure = found(market, money_is_taken_once)
    assert "was taken 2 times" in failure.faults[0]


def test_a_process_that_takes_an_event_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would be if it did not look at the position of its last input, and its steps had ids of their own."""
    step = Stepping.step

    def forgetful(self, process, recorded, now):  # type: ignore[no-untyped-def]
        from msgspec.structs import replace

        from sacho import uuid7

        last = process.last and replace(process.last, input_position=0)
        taken = step(self, process._replace(last=last), recorded, now)
        if taken is None:
            return None
        id = uuid7()
        commands = tuple(replace(one, id=f"{id}-{number}") for number, one in enumerate(taken.advanced.commands))
        return taken._replace(id=id, advanced=replace(taken.advanced, commands=commands))

    monkeypatch.setattr(Stepping, "step", forgetful)
    assert "was taken" in found(market, money_is_taken_once).faults[0]


def test_a_decider_that_sells_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(self, command, state):  # type: ignore[no-untyped-def]
        match command:
            case HoldGoods(item, order_id) if item != "none":
                yield GoodsHeld(item, order_id)
            case HoldGoods():
                raise SoldOut("there is none")

    monkeypatch.setattr(Stock, "decide", decide)
    assert "holds the" in found(shopping, goods_are_held_by_one).faults[0]


def test_a_race_that_a_process_does_not_reckon_with_is_found() -> None:
    """The shop closes an order that is paid at the moment at which its deadline passes."""

    def no_paid_order_is_closed(events: Sequence[RecordedEvent]) -> Iterator[str]:
        paid = set()
        for recorded in events:
            match recorded.event:
                case OrderPaid(order_id):
                    paid.add(order_id)
                case OrderClosed(order_id, "not paid") if order_id in paid:
                    yield f"{order_id} was paid, and is closed"

    failure = found(shopping, no_paid_order_is_closed)
    assert failure.faults[0].startswith("no_paid_order_is_closed: o")


def test_a_process_that_never_ends_is_found() -> None:
    class Endless(Sale):
        name = "sale"

        def paid(self, event, state, moment):  # type: ignore[no-untyped-def]
            return ()

        paid.__sacho_takes__ = Sale.paid.__sacho_takes__  # type: ignore[attr-defined]

    def scenario(world: World) -> None:
        world.application(consumers=[Endless], routes=SALES)
        world.command(Buy("b1", 10))

    assert "b1 goes on" in found(scenario, every_process_ends).faults[0]


def test_an_event_that_would_be_parked_is_a_fault_unless_it_may_be() -> None:
    def scenario(world: World) -> None:
        world.application(consumers=[Fulfilment], routes=ROUTES)
        world.command(PlaceOrder("o1", "poison"))
        world.command(PlaceOrder("o2", "book"))

    failure = found(scenario)
    assert "fulfilment cannot handle position" in failure.faults[0]
    assert "ValueError: poison" in failure.faults[0]
    assert simulate(scenario, seeds=range(5), may_park=True).counts.events > 0


def test_commands_that_follow_on_each_other_without_end_do_not_come_to_rest() -> None:
    def scenario(world: World) -> None:
        world.application(consumers=[Fulfilment], routes=ROUTES)

        def again() -> None:
            world.command(HoldGoods("book", "gift-1"))
            world.later(0, again)

        again()

    with pytest.raises(SimulationFailed, match="not come to rest"):
        simulate(scenario, seeds=[1], most_steps=500)


def test_a_failure_tells_the_seed_what_broke_the_last_steps_and_how_to_have_it_again() -> None:
    def nothing_is_held(events: Sequence[RecordedEvent]) -> None:
        if any(isinstance(one.event, GoodsHeld) for one in events):
            raise AssertionError("something is held")

    failure = found(shopping, nothing_is_held)
    text = str(failure)
    assert f"seed {failure.seed} of shopping failed" in text
    assert "nothing_is_held: something is held" in text
    assert f"simulate(shopping, ..., seeds=[{failure.seed}])" in text
    assert "shop.goods-held in stock-" in str(failure.trace)
    assert str(failure.trace).splitlines()[-1] in text


def test_what_must_hold_always_is_looked_at_after_each_step() -> None:
    def no_order_is_open(events: Sequence[RecordedEvent]) -> list[str]:
        placed = [one.event.order_id for one in events if isinstance(one.event, OrderPlaced)]
        over = {one.event.order_id for one in events if isinstance(one.event, OrderClosed | OrderPaid)}
        return [f"{order_id} is open" for order_id in placed if order_id not in over]

    simulate(shopping, seeds=range(20), invariants=[no_order_is_open])
    with pytest.raises(SimulationFailed, match="is open"):
        simulate(shopping, seeds=range(20), always=[no_order_is_open])


# --- the world ----------------------------------------------------------------------------------------


def test_an_actor_hears_of_outcomes_and_refusals_and_waits_in_virtual_time() -> None:
    heard: list[object] = []

    def scenario(world: World) -> None:
        world.application(routes=ROUTES)

        def actor() -> Actor:
            outcome = yield HoldGoods("book", "gift-1")
            heard.append(outcome.events)
            began = world.now
            yield timedelta(hours=1)
            yield 60
            heard.append(world.now - began)
            try:
                yield HoldGoods("book", "gift-2")
            except CommandRefused as refusal:
                heard.append(str(refusal))
            yield HoldGoods("book", "gift-3")
            heard.append("never")

        world.actor(actor())

    simulate(scenario, seeds=[1], chances=CALM)
    assert heard == [(GoodsHeld("book", "gift-1"),), timedelta(hours=1, minutes=1), "there is no book left"]


def test_a_command_may_be_stored_for_a_time_and_withdrawn_by_a_function_of_the_bus() -> None:
    def scenario(world: World) -> None:
        world.application(routes=ROUTES)
        later = world.now + timedelta(hours=1)
        world.command(HoldGoods("pen", "gift-2"), at=later, id="second")

        def withdrawer() -> Actor:
            yield lambda bus: bus.store(HoldGoods("book", "gift-1"), at=later, command_id="first")
            yield 60
            yield lambda bus: bus.withdraw("first")

        world.actor(withdrawer())

    for seed in range(50):
        events = [one.event for one in Simulation(scenario, chances=HARSH).run(seed).events]
        assert [one for one in events if isinstance(one, GoodsHeld)] == [GoodsHeld("pen", "gift-2")]
        assert [type(one) for one in events].count(CommandDue) == 1
        assert [type(one) for one in events].count(CommandWithdrawn) == 1


def test_a_scenario_sees_the_events_so_far_and_may_say_what_must_hold_outside_the_log() -> None:
    class Carrier:
        def __init__(self) -> None:
            self.carried: dict[str, str] = {}

        def carry(self, command: Sing, envelope: Envelope) -> None:
            self.carried[envelope.id] = command.order_id

    def scenario(world: World) -> Callable[[Sequence[RecordedEvent]], list[str]]:
        carrier = Carrier()
        world.application(routes=[*ROUTES, call(carrier.carry, Sing)])
        world.command(HoldGoods("book", "gift-1"))
        world.command(Sing("o1"), id="one", after=60)
        world.later(120, lambda: seen.append(world.events(GoodsHeld)))
        return lambda events: [] if carrier.carried == {"one": "o1"} else [f"carried {carrier.carried}"]

    seen: list[object] = []
    simulate(scenario, seeds=range(20))
    assert seen[0] == [GoodsHeld("book", "gift-1")]
    assert len(seen) == 20


def test_plain_consumers_have_their_events_at_least_once_and_in_order_of_their_keys() -> None:
    got: list[tuple[str, int]] = []

    class Listener(Consumer):
        partitions = 8

        @handles(GoodsHeld)
        def held(self, event: GoodsHeld, delivery: Delivery) -> None:
            got.append((event.item, delivery.recorded.version or 0))

    def scenario(world: World) -> None:
        got.clear()
        world.application(consumers=[Listener], routes=ROUTES)

        def actor(item: str) -> Actor:
            for number in range(5):
                yield HoldGoods(item, f"gift-{number}")
                yield GiveGoodsBack(item, f"gift-{number}")

        for item in ("book", "pen", "ink"):
            world.actor(actor(item))

    twice = 0
    for seed in range(50):
        Simulation(scenario).run(seed)
        for item in ("book", "pen", "ink"):
            versions = [version for name, version in got if name == item]
            firsts = list(dict.fromkeys(versions))
            assert firsts == sorted(firsts)
            assert len(firsts) == 5
            twice += len(versions) > len(firsts)
    assert twice


def test_relays_tell_others_at_least_once_and_in_order_of_their_keys() -> None:
    told: list[tuple[str, str]] = []

    class Shelf(PublicEvent, type="shop.shelf"):
        item: str
        version: int

    class Window:
        at_once = 4

        def send(self, messages: Sequence[Message]) -> list[BaseException | None]:
            return one_by_one(messages, lambda message: told.append((message.key, message.id)))

    class Outside(Relay):
        source = "urn:shop"

        @publishes(GoodsHeld, key="item")
        def held(self, event: GoodsHeld, context: Context) -> Shelf:
            return Shelf(event.item, context.recorded.version or 0)

    def scenario(world: World) -> None:
        told.clear()
        world.application(consumers=[Outside(Window())], routes=ROUTES)
        for item in ("book", "pen"):
            for number in range(4):
                world.command(HoldGoods(item, "gift"), after=number)
                world.command(GiveGoodsBack(item, "gift"), after=number)

    for seed in range(20):
        events = Simulation(scenario).run(seed).events
        for item in ("book", "pen"):
            once = list(dict.fromkeys(id for key, id in told if key == item))
            assert len(once) == sum(one.event == GoodsHeld(item, "gift") for one in events)


def test_a_handler_that_fails_for_a_while_is_tried_again() -> None:
    tries: list[int] = []

    class Flaky(Consumer):
        @handles(GoodsHeld)
        def held(self, event: GoodsHeld, delivery: Delivery) -> None:
            tries.append(delivery.recorded.position)
            if len(tries) < 3:
                raise ConnectionError("not now")

    def scenario(world: World) -> None:
        world.application(consumers=[Flaky], routes=ROUTES)
        world.command(HoldGoods("book", "gift-1"))

    simulate(scenario, seeds=[1], chances=CALM)
    assert tries == [1, 1, 1]


def test_a_deadline_is_never_early_and_a_clock_that_is_set_back_lets_no_process_run_backwards() -> None:
    for seed in range(50):
        played = Simulation(market, chances=Chances(clock=0.2)).run(seed)
        last: dict[str, ProcessAdvanced] = {}
        for recorded in played.events:
            event = recorded.event
            if isinstance(event, DeadlinePassed | CommandDue):
                assert recorded.recorded_at >= event.due_at
            if isinstance(event, ProcessAdvanced):
                assert event.key not in last or last[event.key].at <= event.at
                last[event.key] = event


def test_what_lies_beyond_the_horizon_does_not_happen() -> None:
    def scenario(world: World) -> None:
        world.application(routes=ROUTES)
        world.command(HoldGoods("book", "gift-1"), after=timedelta(days=2))
        world.command(HoldGoods("pen", "gift-1"), after=timedelta(hours=2))

    played = Simulation(scenario, horizon=timedelta(days=1)).run(1)
    assert [one.event for one in played.events] == [GoodsHeld("pen", "gift-1")]


def test_refusals_told_once_hold_when_the_command_comes_again() -> None:
    """A command that was refused and told of, and comes again after a crash, is not accepted then."""

    def refused_and_handled(events: Sequence[RecordedEvent]) -> Iterator[str]:
        refused = {one.event.command_id for one in events if isinstance(one.event, CommandTurnedDown)}
        for recorded in events:
            if isinstance(recorded.event, GoodsHeld) and recorded.metadata.get("command_id") in refused:
                yield f"{recorded.event} was refused before"

    simulate(shopping, seeds=range(SEEDS), invariants=[refused_and_handled], chances=HARSH)


def test_a_scenario_without_an_application_or_with_two_is_refused() -> None:
    def none(world: World) -> None:
        world.command(HoldGoods("book", "gift-1"))

    def two(world: World) -> None:
        world.application(routes=ROUTES)
        world.application(routes=ROUTES)

    for scenario, text in ((none, "is missing"), (two, "set up already")):
        with pytest.raises(SimulationFailed, match=text) as failed:
            simulate(scenario, seeds=[1])
        assert isinstance(failed.value.__cause__, InvalidConsumer)


def test_a_command_without_a_handler_fails_the_simulation() -> None:
    def scenario(world: World) -> None:
        world.application(routes=ROUTES)
        world.command(Sing("o1"))

    with pytest.raises(SimulationFailed, match="no handler for Sing") as failed:
        simulate(scenario, seeds=[1])
    assert isinstance(failed.value.__cause__, NoHandler)


def test_asynchronous_handlers_are_refused() -> None:
    class Modern(Consumer):
        @handles(GoodsHeld)
        async def held(self, event: GoodsHeld, delivery: Delivery) -> None:
            raise AssertionError

    def scenario(world: World) -> None:
        world.application(consumers=[Modern], routes=ROUTES)
        world.command(HoldGoods("book", "gift-1"))

    with pytest.raises(SimulationFailed, match="cannot be simulated"):
        simulate(scenario, seeds=[1])


def test_the_report_says_what_happened_and_progress_is_told() -> None:
    told: list[int] = []
    report = simulate(shopping, seeds=range(5), progress=told.append)
    assert told == [1, 2, 3, 4, 5]
    assert report.seeds == 5
    assert str(report).startswith("5 seeds in ")
    assert f"{report.counts.crashes:,} crashes" in str(report)

"""The command bus for asyncio: the same chain, awaited; coroutine functions may be steps, hooks and handlers."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

import sacho
from sacho import Envelope, call, route
from sacho.aio import AsyncCommandBus, AsyncEventStore
from sacho.deciding import Outcome
from sacho.errors import (
    DuplicateEventId,
    DuplicateRoute,
    InvalidCommand,
    InvalidRoute,
    NoHandler,
    NotAuthorised,
    StorageUnreachable,
    UnknownCommand,
)
from sacho.events import CommandStored, CommandWithdrawn, command_stream
from sacho.store import current_metadata
from tests.aio.loops import PATIENCE, in_a_loop
from tests.deciding.accounts import REGISTRY, Deposited, GatedAccounts, Hold, NotEnough, Paid
from tests.deciding.banking import AT_ONCE, Bank, BankCommand, Notices, Notify, PutIn, TakeOut, Unheard, stream_of

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def bank_bus(store: AsyncEventStore, notices: Any = None, **options: Any) -> AsyncCommandBus:
    routes = [route(Bank(), BankCommand, stream=stream_of), call(notices or Notices(), Notify)]
    return AsyncCommandBus(store, routes, **{"retry": AT_ONCE, **options})


async def events(store: AsyncEventStore, stream: str) -> list[Any]:
    return [recorded.event async for recorded in store.read(stream)]


@in_a_loop
async def test_a_command_is_handled_and_its_outcome_awaited(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        bus = bank_bus(store)
        await bus.handle(PutIn("ada", 5))
        with sacho.own_writes() as own:
            outcome = await bus.handle(TakeOut("ada", 2))
        assert (outcome.version, outcome.events, outcome.position) == (2, (Paid(2),), await store.head())
        assert own.position == outcome.position
        with pytest.raises(NotEnough):
            await bus.handle(TakeOut("ada", 9))


@in_a_loop
async def test_what_may_not_pass_is_refused_where_it_is_awaited(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        bus = bank_bus(store, authorise=lambda envelope: envelope.actor == "ada")
        for command, error in (
            (Unheard(), NoHandler),
            (PutIn("ada", 0), InvalidCommand),
            (PutIn("ada", 1), NotAuthorised),
        ):
            with pytest.raises(error):
                await bus.handle(command)
            with pytest.raises(error):
                await bus.store(command)
        assert await store.head() == 0
        assert (await bus.handle(PutIn("ada", 1), actor="ada")).version == 1
        with pytest.raises(DuplicateRoute):
            AsyncCommandBus(store, [call(print, Notify), call(print, Notify)])


@in_a_loop
async def test_steps_and_hooks_and_functions_may_be_coroutine_functions_or_plain(url: str) -> None:
    happened: list[str] = []

    async def authenticate(envelope: Envelope) -> Envelope:
        await asyncio.sleep(0)
        happened.append("authenticate")
        return msgspec.structs.replace(envelope, actor="ada")

    def count(envelope: Envelope) -> Envelope:
        happened.append("count")
        return envelope

    async def may(envelope: Envelope) -> bool:
        await asyncio.sleep(0)
        happened.append(f"may {envelope.actor}")
        return bool(envelope.command != Notify("secret"))

    async def notify(command: Notify, envelope: Envelope) -> None:
        await asyncio.sleep(0)
        happened.append(f"notify {command.text}")
        assert current_metadata() == envelope.metadata
        assert envelope.metadata["actor"] == "ada"

    async with sacho.connect_async(url, registry=REGISTRY) as store:
        bus = bank_bus(store, notify, steps=[authenticate, count], authorise=may)
        assert bus.chain == ("validate", "authenticate", "count", "authorise", "correlate", "retry", "handle once")
        assert await bus.handle(Notify("hello")) == Outcome("", 0, 0, ())
        assert happened == ["authenticate", "count", "may ada", "notify hello"]
        with pytest.raises(NotAuthorised):
            await bus.handle(Notify("secret"))
        assert len(happened) == 7
        assert current_metadata() == {}


@in_a_loop
async def test_answers_that_mean_nothing_let_nothing_pass(url: str) -> None:
    async def nothing(envelope: Envelope) -> Any:
        return "yes"

    async with sacho.connect_async(url, registry=REGISTRY) as store:
        with pytest.raises(InvalidRoute, match="'yes'"):
            await bank_bus(store, authorise=nothing).handle(PutIn("ada", 1))
        with pytest.raises(InvalidRoute, match="'nothing' returned 'yes'"):
            await bank_bus(store, steps=[nothing]).handle(PutIn("ada", 1))
        assert await store.head() == 0


@in_a_loop
async def test_a_plain_function_that_waits_does_not_hold_up_the_loop(url: str) -> None:
    gate, entered = threading.Event(), threading.Event()

    def wait(command: Notify, envelope: Envelope) -> None:
        assert current_metadata() == envelope.metadata
        entered.set()
        assert gate.wait(PATIENCE)

    async with sacho.connect_async(url, registry=REGISTRY) as store:
        bus = bank_bus(store, wait)
        waiting = asyncio.ensure_future(bus.handle(Notify("x")))
        await asyncio.to_thread(entered.wait, PATIENCE)
        assert (await bus.handle(PutIn("ada", 1))).version == 1
        assert not waiting.done()
        gate.set()
        assert await waiting == Outcome("", 0, 0, ())


@in_a_loop
async def test_tasks_with_the_same_ids_record_each_command_once(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        buses = [bank_bus(store) for _ in range(2)]
        for id in range(10):
            outcomes = await asyncio.gather(
                *(buses[at % 2].handle(PutIn("ada", 1), command_id=f"c{id}") for at in range(16))
            )
            assert set(outcomes) == {outcomes[0]}
        assert await events(store, "account-ada") == [Deposited(1)] * 10


@in_a_loop
async def test_an_error_that_passes_is_met_by_the_same_command_again(url: str) -> None:
    gone = StorageUnreachable("there", "gone")

    async with sacho.connect_async(url, registry=REGISTRY) as store:
        notices = Notices(gone, gone)
        await bank_bus(store, notices).handle(Notify("x"))
        assert [one.id for one in notices.envelopes] == [notices.envelopes[0].id] * 3
        notices = Notices(*[gone] * 9)
        with pytest.raises(StorageUnreachable):
            await bank_bus(store, notices).handle(Notify("x"))
        assert len(notices.envelopes) == AT_ONCE.attempts


@in_a_loop
async def test_a_cancelled_command_may_have_happened_and_its_id_tells(url: str) -> None:
    decider = GatedAccounts()
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        bus = AsyncCommandBus(store, [route(decider, Hold, stream=lambda _: "account-1")])
        task = asyncio.create_task(bus.handle(Hold(), command_id="c1"))
        await asyncio.to_thread(decider.entered.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        decider.gate.set()
        assert (await bus.handle(Hold(), command_id="c1")).version == 1
        assert await events(store, "account-1") == [Deposited(1)]


@in_a_loop
async def test_metadata_of_the_task_is_on_its_commands_events(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        bus = bank_bus(store)

        async def caller(number: int) -> None:
            with sacho.metadata(actor=f"actor {number}"):
                await bus.handle(PutIn("ada", number))

        await asyncio.gather(*(caller(number) for number in range(1, 21)))
        nobody = bank_bus(store, steps=[lambda envelope: msgspec.structs.replace(envelope, actor=None)])
        with sacho.metadata(actor="ada"):
            await nobody.store(PutIn("ada", 1), command_id="c1")
        assert [("actor" in one.metadata) async for one in store.read(command_stream("c1"))] == [False]
        async for recorded in store.read("account-ada"):
            assert recorded.metadata["actor"] == f"actor {recorded.event.amount}"


@in_a_loop
async def test_commands_are_stored_replaced_and_withdrawn(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        bus = bank_bus(store)
        stored = await bus.store(PutIn("ada", 5), at=NOON, command_id="c1", actor="ada")
        assert stored == ("c1", await store.head())
        assert await bus.store(PutIn("ada", 5), at=NOON, command_id="c1") == stored
        with pytest.raises(DuplicateEventId):
            await bus.store(PutIn("ada", 6), at=NOON, command_id="c1")
        assert await bus.replace("c1", PutIn("ada", 6), at=NOON) == ("c1", await store.head())
        assert (await bus.withdraw("c1"), await bus.withdraw("c1")) == (True, False)
        assert await bus.replace("c1", PutIn("ada", 7)) is None
        with pytest.raises(UnknownCommand):
            await bus.withdraw("c2")
        assert await events(store, command_stream("c1")) == [
            CommandStored("c1", "PutIn", {"account": "ada", "amount": 5}, "account-ada", NOON),
            CommandStored("c1", "PutIn", {"account": "ada", "amount": 6}, "account-ada", NOON),
            CommandWithdrawn("c1"),
        ]
        assert bus.command(*bus.stored_form(PutIn("ada", 5))) == PutIn("ada", 5)


@in_a_loop
async def test_of_many_tasks_that_withdraw_one_command_one_comes_through(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        buses = [bank_bus(store) for _ in range(2)]
        for id in range(10):
            await buses[0].store(PutIn("ada", 5), at=NOON, command_id=f"c{id}")
            won = await asyncio.gather(*(buses[at % 2].withdraw(f"c{id}") for at in range(8)))
            assert sum(won) == 1

"""Commands for asyncio: the same handler, awaited; tasks that rush on one stream share commits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import sacho
from sacho import uuid7
from sacho.aio import AsyncCommandHandler, AsyncEventStore
from sacho.deciding import Retry
from sacho.errors import InvalidName, RetriesExhausted, StoreClosed
from tests.aio.loops import PATIENCE, in_a_loop
from tests.deciding.accounts import (
    REGISTRY,
    Accounts,
    Balance,
    Break,
    Deposit,
    Deposited,
    GatedAccounts,
    Hold,
    InterferingAccounts,
    Look,
    NotEnough,
    Paid,
    Pay,
)


async def stream_of(store: AsyncEventStore, stream: str = "account-1") -> list[Any]:
    return [(recorded.version, recorded.event) async for recorded in store.read(stream)]


@in_a_loop
async def test_a_command_is_handled_and_its_outcome_awaited(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        handler = AsyncCommandHandler(store, Accounts())
        await handler.handle("account-1", Deposit(5))
        outcome = await handler.handle("account-1", Pay(2))
        assert (outcome.version, outcome.events, outcome.position) == (2, (Paid(2),), await store.head())
        assert (await handler.handle("account-1", Look())).version == 2


@in_a_loop
async def test_a_refusal_is_raised_where_the_command_is_awaited(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        handler = AsyncCommandHandler(store, Accounts())
        with pytest.raises(NotEnough, match="there is 0, not 2"):
            await handler.handle("account-1", Pay(2))
        with pytest.raises(ZeroDivisionError):
            await handler.handle("account-1", Break())
        with pytest.raises(InvalidName):
            await handler.handle("", Pay(2))
        assert await stream_of(store) == []


@in_a_loop
async def test_sixty_four_tasks_on_one_stream_each_record_once_in_few_commits(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        handler = AsyncCommandHandler(store, Accounts())

        async def caller(number: int) -> list[int]:
            return [(await handler.handle("account-1", Deposit(number))).version for _ in range(10)]

        told = await asyncio.gather(*(caller(number) for number in range(64)))
        recorded = await stream_of(store)
        assert sorted(version for each in told for version in each) == list(range(1, 641))
        assert [version for version, _ in recorded] == list(range(1, 641))
        for number, each in enumerate(told):
            assert [recorded[version - 1][1] for version in each] == [Deposited(number)] * 10
        assert store.blocking.storage.statistics().commits < 320


@in_a_loop
async def test_refusals_and_bugs_among_many_tasks_are_told_to_their_callers_only(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        handler = AsyncCommandHandler(store, Accounts())
        commands = [(Deposit(1), Pay(1_000), Break(), Look())[number % 4] for number in range(64)]
        results = await asyncio.gather(
            *(handler.handle("account-1", command) for command in commands), return_exceptions=True
        )
        assert all(isinstance(result, NotEnough) for result in results[1::4])
        assert all(isinstance(result, ZeroDivisionError) for result in results[2::4])
        assert not any(isinstance(result, BaseException) for result in results[::4] + results[3::4])
        assert await stream_of(store) == [(version, Deposited(1)) for version in range(1, 17)]


@in_a_loop
async def test_a_decider_that_asks_an_empty_iterator_is_told_to_its_caller(url: str) -> None:
    class Careless(Accounts):
        def decide(self, command: Any, state: Balance) -> Any:
            return [Deposited(next(iter(())))] if isinstance(command, Break) else super().decide(command, state)

    async with sacho.connect_async(url, registry=REGISTRY) as store:
        handler = AsyncCommandHandler(store, Careless())
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        with pytest.raises((StopIteration, RuntimeError)):
            await handler.handle("account-1", Break())
        assert errors == []


@in_a_loop
async def test_one_command_from_many_tasks_at_once_is_recorded_once(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        handlers = [AsyncCommandHandler(store, Accounts()) for _ in range(4)]
        for command_id in ("d1", uuid7()):
            outcomes = await asyncio.gather(
                *(handlers[at % 4].handle("account-1", Deposit(), command_id=command_id) for at in range(16))
            )
            assert set(outcomes) == {outcomes[0]}
        assert len(await stream_of(store)) == 2


@in_a_loop
async def test_a_cancelled_command_may_have_happened_and_its_id_tells(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        handler = AsyncCommandHandler(store, Accounts())
        for number in range(30):
            task = asyncio.create_task(handler.handle("account-1", Deposit(), command_id=f"d{number}"))
            others = [asyncio.create_task(handler.handle("account-2", Deposit())) for _ in range(2)]
            await asyncio.sleep(0)
            task.cancel()
            assert (await handler.handle("account-1", Deposit(), command_id=f"d{number}")).version == number + 1
            await asyncio.gather(*others)
        assert len(await stream_of(store)) == 30
        assert len(await stream_of(store, "account-2")) == 60


@in_a_loop
async def test_conflicts_are_retried_and_bounded(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        retried = AsyncCommandHandler(store, InterferingAccounts(store.blocking, "account-1", times=1))
        assert (await retried.handle("account-1", Deposit(9))).version == 2
        hopeless = InterferingAccounts(store.blocking, "account-2", times=99)
        with pytest.raises(RetriesExhausted) as given_up:
            await AsyncCommandHandler(store, hopeless, retry=Retry(attempts=4)).handle("account-2", Deposit())
        assert given_up.value.attempts == 4


@in_a_loop
async def test_the_state_is_loaded_now_and_as_of_a_version(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        handler = AsyncCommandHandler(store, Accounts())
        for amount in (1, 2, 3):
            await handler.handle("account-1", Deposit(amount))
        assert (await handler.load("account-1")).state == Balance(6, 3)
        assert (await handler.load("account-1", to=2)).state == Balance(3, 2)


@in_a_loop
async def test_metadata_of_the_task_is_on_its_commands_events(url: str) -> None:
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        handler = AsyncCommandHandler(store, Accounts())

        async def caller(number: int) -> None:
            with sacho.metadata(actor=f"actor {number}"):
                await handler.handle("account-1", Deposit(number))

        await asyncio.gather(*(caller(number) for number in range(20)))
        async for recorded in store.read("account-1"):
            assert recorded.metadata["actor"] == f"actor {recorded.event.amount}"


@in_a_loop
async def test_closing_the_store_tells_or_ends_all_commands_that_wait(url: str) -> None:
    decider = GatedAccounts()
    store = await sacho.connect_async(url, registry=REGISTRY)
    handler = AsyncCommandHandler(store, decider)
    waiting = [asyncio.ensure_future(handler.handle("account-1", Hold()))]
    await asyncio.to_thread(decider.entered.wait, PATIENCE)
    waiting += [asyncio.ensure_future(handler.handle("account-1", Deposit())) for _ in range(10)]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(store.close())
    decider.gate.set()
    await closing
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, StoreClosed | sacho.deciding.Outcome) for result in results)
    with pytest.raises(StoreClosed):
        await handler.handle("account-1", Deposit())


@in_a_loop
async def test_a_slow_decision_does_not_hold_up_the_loop(url: str) -> None:
    decider = GatedAccounts()
    async with sacho.connect_async(url, registry=REGISTRY) as store:
        handler = AsyncCommandHandler(store, decider)
        held = asyncio.ensure_future(handler.handle("account-1", Hold()))
        await asyncio.to_thread(decider.entered.wait, PATIENCE)
        assert (await handler.handle("account-2", Deposit())).version == 1
        assert not held.done()
        decider.gate.set()
        assert (await held).version == 1


@in_a_loop
async def test_a_decider_may_decide_in_turns(url: str) -> None:
    """An event is yielded, and what follows depends on nothing but the state and the command."""

    class InHalves(Accounts):
        def decide(self, command: Any, state: Balance) -> Iterator[Any]:
            for event in super().decide(command, state):
                yield from (Deposited(event.amount // 2), Deposited(event.amount - event.amount // 2))

    async with sacho.connect_async(url, registry=REGISTRY) as store:
        outcome = await AsyncCommandHandler(store, InHalves()).handle("account-1", Deposit(5))
        assert outcome.events == (Deposited(2), Deposited(3))

"""Many commands wait for one stream: they share commits, none is lost, and what befalls one does not befall others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from sacho import CommandHandler, EventStore
from sacho.deciding import Outcome
from sacho.errors import StoreClosed
from tests.deciding.accounts import (
    PATIENCE,
    Accounts,
    Balance,
    Break,
    Deposit,
    Deposited,
    GatedAccounts,
    Hold,
    Look,
    NotEnough,
    Paid,
    Pay,
    Spoil,
    at_once,
    in_thread,
    recorded_events,
    versions,
)

Handler = CommandHandler[Any, Balance, Any]


def batch_behind(decider: GatedAccounts, handler: Handler, commands: list[Any]) -> list[Future[Outcome]]:
    """Hand in commands while one is being decided, so that they are decided together next."""
    held = handler.submit("account-1", Hold())
    assert decider.entered.wait(PATIENCE)
    futures = [handler.submit("account-1", command) for command in commands]
    decider.gate.set()
    held.result(timeout=PATIENCE)
    return futures


def results(futures: list[Future[Outcome]]) -> list[Any]:
    """What became of each: its version, or its error's class."""
    errors = [future.exception(timeout=PATIENCE) for future in futures]
    return [type(error) if error else future.result().version for future, error in zip(futures, errors, strict=True)]


def test_sixteen_threads_each_record_their_commands_once(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    outcomes = at_once(16, lambda number: [handler.handle("account-1", Deposit(number)) for _ in range(25)])
    told = [outcome.version for each in outcomes for outcome in each]
    assert sorted(told) == list(range(1, 401)) == versions(store, "account-1")
    events = recorded_events(store, "account-1")
    for number, each in enumerate(outcomes):
        assert [events[outcome.version - 1] for outcome in each] == [Deposited(number)] * 25
        assert [outcome.version for outcome in each] == sorted(outcome.version for outcome in each)


def test_commands_that_wait_together_share_one_commit(store: EventStore) -> None:
    decider = GatedAccounts()
    handler = CommandHandler(store, decider)
    futures = batch_behind(decider, handler, [Deposit()] * 100)
    assert results(futures) == list(range(2, 102))
    assert store.storage.statistics().commits == 2
    assert decider.decided == 101


def test_a_rush_takes_fewer_commits_than_commands(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    at_once(16, lambda _: [future.result(timeout=PATIENCE) for future in _deposits(handler, 25)])
    assert versions(store, "account-1") == list(range(1, 401))
    assert store.storage.statistics().commits < 400


def _deposits(handler: Handler, count: int) -> list[Future[Outcome]]:
    return [handler.submit("account-1", Deposit()) for _ in range(count)]


def test_rushes_on_several_streams_do_not_mix(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    at_once(12, lambda number: [handler.handle(f"account-{number % 3}", Deposit(number % 3)) for _ in range(20)])
    for at in range(3):
        assert recorded_events(store, f"account-{at}") == [Deposited(at)] * 80


def test_commands_of_one_caller_are_decided_in_the_order_they_were_handed_in(store: EventStore) -> None:
    decider = GatedAccounts()
    handler = CommandHandler(store, decider)
    results(batch_behind(decider, handler, [Deposit(amount) for amount in range(300)]))
    assert recorded_events(store, "account-1") == [Deposited(1), *(Deposited(amount) for amount in range(300))]


def test_a_refusal_in_the_middle_of_a_batch_is_told_to_its_caller_only(store: EventStore) -> None:
    decider = GatedAccounts()
    handler = CommandHandler(store, decider)
    commands = [Deposit(4), Pay(50), Deposit(5), Look(), Pay(10), Pay(1), Deposit(1)]
    assert results(batch_behind(decider, handler, commands)) == [2, NotEnough, 3, 3, 4, NotEnough, 5]
    assert recorded_events(store, "account-1") == [Deposited(amount) for amount in (1, 4, 5)] + [Paid(10), Deposited(1)]


def test_a_command_that_changes_nothing_in_a_batch_has_the_position_of_what_was_before_it(store: EventStore) -> None:
    decider = GatedAccounts()
    handler = CommandHandler(store, decider)
    before, looked, _ = (future.result(timeout=PATIENCE) for future in batch_behind(decider, handler, DEPOSIT_AND_LOOK))
    assert (looked.version, looked.position, looked.events) == (before.version, before.position, ())


DEPOSIT_AND_LOOK = [Deposit(), Look(), Deposit()]


@pytest.mark.parametrize(("command", "bug"), [(Break(), ZeroDivisionError), (Spoil(), LookupError)])
def test_a_bug_in_the_middle_of_a_batch_is_told_to_its_caller_and_the_others_go_on(
    store: EventStore, command: Any, bug: type[Exception]
) -> None:
    decider = GatedAccounts()
    handler = CommandHandler(store, decider)
    futures = batch_behind(decider, handler, [Deposit(), command, Deposit(), command, Deposit()])
    assert results(futures) == [2, bug, 3, bug, 4]
    assert handler.load("account-1").state == Balance(4, 4)


def test_from_a_conflict_on_all_of_a_batch_are_decided_again(store: EventStore) -> None:
    """Another writer comes in while a batch is decided: what was refused or changed nothing on top of it counts anew."""

    class Interfering(GatedAccounts):
        interfere: Callable[[], None] | None = None

        def decide(self, command: Any, state: Balance) -> Iterator[Any]:
            interfere, self.interfere = (self.interfere, None) if command == Deposit(4) else (None, self.interfere)
            if interfere is not None:
                interfere()
            yield from super().decide(command, state)

    decider = Interfering()
    decider.interfere = lambda: _append(store)
    handler = CommandHandler(store, decider)
    futures = batch_behind(decider, handler, [Deposit(4), Pay(50), Look()])
    assert results(futures) == [3, 4, 4]
    assert recorded_events(store, "account-1") == [Deposited(1), Deposited(100), Deposited(4), Paid(50)]


def test_what_was_decided_on_a_refused_write_is_never_recorded(store: EventStore) -> None:
    """Another writer brings the stream just to the version that the second command of the batch expects."""

    class Interfering(GatedAccounts):
        has_interfered = False

        def decide(self, command: Any, state: Balance) -> Iterator[Any]:
            if isinstance(command, Deposit) and not self.has_interfered:
                self.has_interfered = True
                store.append("account-1", [Paid(1)])
            yield from super().decide(command, state)

    decider = Interfering()
    handler = CommandHandler(store, decider)
    futures = batch_behind(decider, handler, [Deposit(10), Pay(11)])
    assert results(futures) == [3, NotEnough]
    assert recorded_events(store, "account-1") == [Deposited(1), Paid(1), Deposited(10)]


def _append(store: EventStore) -> None:
    store.append("account-1", [Deposited(100)])


def test_an_unreadable_event_is_told_to_all_who_wait_and_none_hangs(store: EventStore) -> None:
    store.append("account-1", [Deposited(1)])
    decider = GatedAccounts(after=lambda: _spoil(store))
    handler = CommandHandler(store, decider)
    held = handler.submit("account-1", Hold())
    assert decider.entered.wait(PATIENCE)
    futures = [handler.submit("account-1", Deposit()) for _ in range(5)]
    decider.gate.set()
    assert results([held, *futures]) == [LookupError] * 6
    assert handler.handle("account-2", Deposit()).version == 1


def _spoil(store: EventStore) -> None:
    from tests.deciding.accounts import Spoiled

    store.append("account-1", [Spoiled()])


# --- interruptions ------------------------------------------------------------------------------------


def test_an_interrupted_leader_does_not_take_others_commands_with_it(store: EventStore) -> None:
    interrupts = iter([KeyboardInterrupt()])

    def interrupt_once() -> None:
        for interrupt in interrupts:
            raise interrupt

    decider = GatedAccounts(after=interrupt_once)
    handler = CommandHandler(store, decider)
    leader = in_thread(lambda: handler.handle("account-1", Hold(), command_id="held"))
    assert decider.entered.wait(PATIENCE)
    futures = [handler.submit("account-1", Deposit()) for _ in range(20)]
    decider.gate.set()
    assert isinstance(leader.exception(timeout=PATIENCE), KeyboardInterrupt)
    told = results(futures)
    assert told == sorted(told)
    assert set(told) <= set(versions(store, "account-1"))
    again = handler.handle("account-1", Hold(), command_id="held")
    assert len(again.events) == 1
    assert versions(store, "account-1") == list(range(1, 22)), "the interrupted command was recorded once at most"


def test_an_interrupt_of_the_main_thread_while_it_decides_loses_no_command(store: EventStore) -> None:
    """Ctrl-C comes to the main thread: it hears at once, and the commands behind go on without it."""
    waiting: list[Future[Outcome]] = []

    def interrupt_once() -> None:
        if not waiting:
            waiting.extend(handler.submit("account-1", Deposit(amount)) for amount in range(20))
            raise KeyboardInterrupt

    decider = GatedAccounts(after=interrupt_once)
    decider.gate.set()
    handler = CommandHandler(store, decider)
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(KeyboardInterrupt):
        handler.handle("account-1", Hold(), command_id="held")
    assert all(isinstance(version, int) for version in results(waiting))
    handler.handle("account-1", Hold(), command_id="held")
    events = recorded_events(store, "account-1")
    assert len(events) == 21, "the interrupted command was recorded once"
    assert {event.amount for event in events} == set(range(20))


def test_a_decider_that_exits_is_told_to_its_caller_and_the_others_go_on(store: EventStore) -> None:
    class Exiting(Accounts):
        def decide(self, command: Any, state: Balance) -> Iterator[Any]:
            if isinstance(command, Break):
                raise SystemExit(3)
            yield from super().decide(command, state)

    handler = CommandHandler(store, Exiting())
    broken = handler.submit("account-1", Break())
    behind = handler.submit("account-1", Deposit())
    assert behind.result(timeout=PATIENCE).version == 1
    assert isinstance(broken.exception(timeout=PATIENCE), SystemExit)


# --- closing ------------------------------------------------------------------------------------------


def test_closing_the_store_tells_all_who_wait_behind_a_callers_thread(store: EventStore) -> None:
    decider = GatedAccounts()
    handler = CommandHandler(store, decider)
    leader = in_thread(lambda: handler.handle("account-1", Hold()))
    assert decider.entered.wait(PATIENCE)
    futures = [handler.submit("account-1", Deposit()) for _ in range(5)]
    store.close()
    decider.gate.set()
    assert results([leader, *futures]) == [StoreClosed] * 6


def test_closing_the_store_lets_background_commands_end_or_tells_them(store: EventStore) -> None:
    decider = GatedAccounts()
    handler = CommandHandler(store, decider)
    held = handler.submit("account-1", Hold())
    assert decider.entered.wait(PATIENCE)
    futures = [handler.submit("account-1", Deposit()) for _ in range(5)]
    closing = in_thread(store.close)
    decider.gate.set()
    closing.result(timeout=PATIENCE)
    told = results([held, *futures])
    assert [one for one in told if one is not StoreClosed] == list(range(1, 1 + len(told) - told.count(StoreClosed)))


def test_closing_the_store_ends_a_rush(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    begun = threading.Barrier(9)

    def rush() -> int:
        done = 0
        while True:
            try:
                handler.handle("account-1", Deposit())
            except StoreClosed:
                return done
            done += 1
            if done == 1:
                begun.wait(PATIENCE)

    threads = [in_thread(rush) for _ in range(8)]
    begun.wait(PATIENCE)
    in_thread(store.close).result(timeout=PATIENCE)
    assert all(thread.result(timeout=PATIENCE) >= 1 for thread in threads)


def test_closing_the_store_leaves_no_thread_of_its_own(store: EventStore) -> None:
    first, second = GatedAccounts(), GatedAccounts()
    handler, other = CommandHandler(store, first), CommandHandler(store, second)
    held = other.submit("account-2", Hold())
    assert second.entered.wait(PATIENCE)
    leader = in_thread(lambda: handler.handle("account-1", Hold()))
    assert first.entered.wait(PATIENCE)
    behind = handler.submit("account-1", Deposit())
    closing = in_thread(store.close)
    _wait_until(lambda: store._background is None)
    first.gate.set()
    results([leader, behind])
    second.gate.set()
    results([held])
    closing.result(timeout=PATIENCE)
    _wait_until(lambda: not any(thread.name.startswith("sacho-") for thread in threading.enumerate()))


def _wait_until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, "the condition was not met in time"
        threading.Event().wait(0.001)

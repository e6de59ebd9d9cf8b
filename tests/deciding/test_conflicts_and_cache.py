"""Other writers come in between: commands are decided again, a bounded number of times; and no cached state is trusted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sacho
from sacho import CommandHandler, EventStore
from sacho.deciding import Retry
from sacho.errors import RetriesExhausted
from tests.deciding.accounts import (
    PATIENCE,
    REGISTRY,
    Accounts,
    Balance,
    Deposit,
    Deposited,
    InterferingAccounts,
    NotEnough,
    Paid,
    Pay,
    at_once,
    recorded_events,
    versions,
)

ROOT = Path(__file__).parents[2]
AT_ONCE = Retry(attempts=3, first_pause=0.0, longest_pause=0.0)


def test_a_command_that_meets_another_writer_is_decided_again_on_what_the_other_left(store: EventStore) -> None:
    decider = InterferingAccounts(store, "account-1", times=1)
    outcome = CommandHandler(store, decider).handle("account-1", Deposit(10))
    assert (outcome.version, decider.decided) == (2, 2)
    assert recorded_events(store, "account-1") == [Deposited(1), Deposited(10)]


def test_a_refusal_counts_for_the_state_it_was_decided_on(store: EventStore) -> None:
    decider = InterferingAccounts(store, "account-1", times=2)
    handler = CommandHandler(store, decider)
    with pytest.raises(NotEnough):
        handler.handle("account-1", Pay(1))
    assert handler.handle("account-1", Pay(1)).version == 3
    assert recorded_events(store, "account-1") == [Deposited(1), Deposited(1), Paid(1)]


def test_a_command_that_loses_every_race_is_given_up_after_so_many_attempts(store: EventStore) -> None:
    decider = InterferingAccounts(store, "account-1", times=1_000)
    handler = CommandHandler(store, decider, retry=AT_ONCE)
    with pytest.raises(RetriesExhausted) as given_up:
        handler.handle("account-1", Deposit(10))
    assert (given_up.value.stream, given_up.value.attempts) == ("account-1", 3)
    assert decider.decided == 3
    assert recorded_events(store, "account-1") == [Deposited(1)] * 3


def test_a_handler_goes_on_after_it_gave_a_command_up(store: EventStore) -> None:
    handler = CommandHandler(store, InterferingAccounts(store, "account-1", times=3), retry=AT_ONCE)
    with pytest.raises(RetriesExhausted):
        handler.handle("account-1", Deposit(10))
    assert handler.handle("account-1", Deposit(10)).version == 4


def test_pauses_grow_and_are_bounded() -> None:
    retry = Retry(first_pause=0.001, longest_pause=0.05)
    assert retry.pause(0) == retry.pause(1) == 0
    for conflicts in range(2, 2_000):
        longest = min(0.05, 0.001 * 2 ** min(conflicts - 2, 30))
        assert longest / 2 <= retry.pause(conflicts) <= longest


def test_handlers_that_race_for_one_stream_lose_no_command(store: EventStore) -> None:
    handlers = [CommandHandler(store, Accounts()) for _ in range(4)]
    at_once(16, lambda number: [handlers[number % 4].handle("account-1", Deposit()) for _ in range(10)])
    assert versions(store, "account-1") == list(range(1, 161))
    assert {handler.load("account-1").state for handler in handlers} == {Balance(160, 160)}


def test_handlers_that_race_never_pay_what_is_not_there(store: EventStore) -> None:
    handlers = [CommandHandler(store, Accounts()) for _ in range(4)]
    handlers[0].handle("account-1", Deposit(100))

    def pay(number: int) -> int:
        try:
            handlers[number % 4].handle("account-1", Pay(10))
        except NotEnough:
            return 0
        return 1

    assert sum(at_once(24, pay)) == 10
    assert handlers[0].load("account-1").state == Balance(0, 11)


# --- the cache ----------------------------------------------------------------------------------------


def test_a_cached_state_is_not_folded_again(store: EventStore) -> None:
    store.append("account-1", [Deposited(1)] * 100)
    decider = Accounts()
    handler = CommandHandler(store, decider)
    handler.handle("account-1", Deposit())
    folded = decider.evolved
    handler.handle("account-1", Deposit())
    assert (folded, decider.evolved) == (101, 102)


def test_the_cache_is_bounded_and_the_least_recently_used_state_goes_first(store: EventStore) -> None:
    decider = Accounts()
    handler = CommandHandler(store, decider, cache_size=2)
    for stream in ("account-1", "account-2", "account-1", "account-3"):
        handler.handle(stream, Deposit())
    assert handler.cached_states() == 2
    evolved = decider.evolved
    handler.handle("account-1", Deposit())
    assert decider.evolved == evolved + 1, "account-1 was used lately and stays"
    handler.handle("account-2", Deposit())
    assert decider.evolved == evolved + 3, "account-2 was folded from its event, then evolved by the new one"


def test_a_cache_of_no_size_keeps_nothing_and_all_works(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts(), cache_size=0)
    for _ in range(3):
        handler.handle("account-1", Deposit())
    assert handler.cached_states() == 0
    assert handler.load("account-1").state == Balance(3, 3)


def test_many_streams_leave_no_more_than_the_cache_holds(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts(), cache_size=5)
    at_once(8, lambda number: [handler.handle(f"account-{number}x{at}", Deposit()) for at in range(10)])
    assert handler.cached_states() == 5
    assert len(list(store.streams())) == 80


def test_an_event_of_another_writer_is_seen_by_the_next_decision(store: EventStore) -> None:
    decider = Accounts()
    handler = CommandHandler(store, decider)
    handler.handle("account-1", Deposit(10))
    store.append("account-1", [Paid(9)])
    with pytest.raises(NotEnough) as refused:
        handler.handle("account-1", Pay(10))
    assert refused.value.balance == 1
    assert decider.decided == 2, "the log was asked before deciding, not after a conflict"


def test_an_event_of_another_store_on_the_same_file_is_seen_by_the_next_decision(file_url: str) -> None:
    with sacho.connect(file_url, registry=REGISTRY) as store, sacho.connect(file_url, registry=REGISTRY) as other:
        handler, others = CommandHandler(store, Accounts()), CommandHandler(other, Accounts())
        for number in range(1, 20, 2):
            assert handler.handle("account-1", Deposit()).version == number
            assert others.handle("account-1", Deposit()).version == number + 1
        assert handler.load("account-1") == others.load("account-1")


def test_an_event_of_another_process_is_seen_by_the_next_decision(file_url: str) -> None:
    program = (
        "import sys, sacho\n"
        "from tests.deciding.accounts import *\n"
        "with sacho.connect(sys.argv[1], registry=REGISTRY) as store:\n"
        "    sacho.CommandHandler(store, Accounts()).handle('account-1', Pay(9))\n"
    )
    with sacho.connect(file_url, registry=REGISTRY) as store:
        handler = CommandHandler(store, Accounts())
        handler.handle("account-1", Deposit(10))
        ended = subprocess.run([sys.executable, "-c", program, file_url], cwd=ROOT, timeout=PATIENCE)
        assert ended.returncode == 0
        with pytest.raises(NotEnough) as refused:
            handler.handle("account-1", Pay(2))
        assert refused.value.balance == 1


def test_a_state_that_may_differ_from_the_log_is_not_kept(store: EventStore) -> None:
    """An append fails after the state was evolved in memory: the next command starts from the log."""

    class Interfered(Accounts):
        def evolve(self, state: Balance, event: Any) -> Balance:
            if event == Deposited(13) and not versions(store, "account-1"):
                store.append("account-1", [Deposited(1)])
            return super().evolve(state, event)

    handler = CommandHandler(store, Interfered(), retry=Retry(attempts=1))
    with pytest.raises(RetriesExhausted):
        handler.handle("account-1", Deposit(13))
    assert handler.handle("account-1", Pay(1)).version == 2
    with pytest.raises(NotEnough):
        handler.handle("account-1", Pay(1))

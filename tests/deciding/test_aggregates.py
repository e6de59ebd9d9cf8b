"""Aggregates are an adapter on the decider: methods record events, which are applied at once and appended at the end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sacho import Aggregate, AggregateDecider, CommandHandler, EventStore
from sacho.testing import given_for
from tests.deciding.accounts import (
    PATIENCE,
    Deposited,
    FeeTaken,
    NotEnough,
    Paid,
    at_once,
    in_thread,
    recorded_events,
    versions,
)


class Account(Aggregate):
    def __init__(self) -> None:
        self.balance = 0
        self.applied = 0

    def deposit(self, amount: int) -> None:
        self.record(Deposited(amount))

    def pay_with_fee(self, amount: int, fee: int) -> None:
        self.record(Paid(amount))
        if fee > self.balance:
            raise NotEnough(self.balance, fee)
        self.record(FeeTaken(fee))

    def apply(self, event: Any) -> None:
        self.applied += 1
        self.balance += event.amount if isinstance(event, Deposited) else -event.amount


class PayWithFee(msgspec.Struct, frozen=True):
    amount: int
    fee: int


class ByValues(Account):
    def execute(self, command: Any) -> None:
        match command:
            case PayWithFee(amount, fee):
                self.pay_with_fee(amount, fee)
            case int(amount):
                self.deposit(amount)


def test_a_recorded_event_is_applied_at_once() -> None:
    account = Account()
    account.deposit(5)
    assert account.balance == 5
    account.pay_with_fee(4, 1)
    assert (account.balance, account.applied) == (0, 3)


def test_what_methods_record_is_appended_when_the_command_is_done(store: EventStore) -> None:
    handler = CommandHandler(store, AggregateDecider(Account))
    handler.handle("account-1", lambda account: account.deposit(5))
    outcome = handler.handle("account-1", lambda account: account.pay_with_fee(3, 1))
    assert (outcome.version, outcome.events) == (3, (Paid(3), FeeTaken(1)))
    assert recorded_events(store, "account-1") == [Deposited(5), Paid(3), FeeTaken(1)]


def test_an_aggregate_is_folded_from_its_events(store: EventStore) -> None:
    store.append("account-1", [Deposited(5), Paid(2)])
    handler = CommandHandler(store, AggregateDecider(Account))
    assert (handler.load("account-1").state.balance, handler.load("account-1", to=1).state.balance) == (3, 5)


def test_an_event_is_applied_once_and_not_again_when_it_is_kept(store: EventStore) -> None:
    handler = CommandHandler(store, AggregateDecider(Account))
    seen: list[tuple[int, int]] = []

    def deposit(account: Account) -> None:
        seen.append((account.applied, account.balance))
        account.deposit(2)

    for _ in range(4):
        handler.handle("account-1", deposit)
    assert seen == [(0, 0), (1, 2), (2, 4), (3, 6)]


def test_events_of_another_writer_are_applied_between(store: EventStore) -> None:
    handler = CommandHandler(store, AggregateDecider(Account))
    handler.handle("account-1", lambda account: account.deposit(2))
    store.append("account-1", [Deposited(10)])
    handler.handle("account-1", lambda account: account.pay_with_fee(11, 1))
    assert handler.load("account-1").state.balance == 0


def test_a_refusal_after_something_was_recorded_leaves_nothing_in_the_log_or_in_memory(store: EventStore) -> None:
    handler = CommandHandler(store, AggregateDecider(Account))
    handler.handle("account-1", lambda account: account.deposit(5))
    for _ in range(3):
        with pytest.raises(NotEnough) as refused:
            handler.handle("account-1", lambda account: account.pay_with_fee(5, 1))
        assert refused.value.balance == 0
    assert versions(store, "account-1") == [1]
    assert handler.handle("account-1", lambda account: account.pay_with_fee(4, 1)).version == 3


def test_refusals_among_commands_that_wait_together_cost_the_others_nothing(store: EventStore) -> None:
    handler = CommandHandler(store, AggregateDecider(Account))

    def command(number: int) -> int:
        if number % 3:
            return len(handler.handle("account-1", lambda account: account.deposit(1)).events)
        with pytest.raises(NotEnough):
            handler.handle("account-1", lambda account: account.pay_with_fee(1_000, 1_000))
        return 0

    assert sum(at_once(18, command)) == 12
    assert recorded_events(store, "account-1") == [Deposited(1)] * 12


def test_an_event_that_cannot_be_stored_leaves_nothing_in_the_log_or_in_memory(store: EventStore) -> None:
    handler = CommandHandler(store, AggregateDecider(Account))
    handler.handle("account-1", lambda account: account.deposit(5))
    with pytest.raises(Exception, match="cannot be stored"):
        handler.handle("account-1", lambda account: account.deposit(float("nan")))
    assert handler.handle("account-1", lambda account: account.deposit(1)).version == 2
    assert handler.load("account-1").state.balance == 6


def test_an_aggregate_may_take_commands_as_values(store: EventStore) -> None:
    handler = CommandHandler(store, AggregateDecider(ByValues))
    handler.handle("account-1", 5)
    outcome = handler.handle("account-1", PayWithFee(4, 1), command_id="p1")
    assert handler.handle("account-1", PayWithFee(4, 1), command_id="p1") == outcome
    assert list(store.read("account-1"))[1].metadata["command"] == "PayWithFee"


def test_loaded_aggregates_are_objects_of_their_own(store: EventStore) -> None:
    handler = CommandHandler(store, AggregateDecider(Account))
    handler.handle("account-1", lambda account: account.deposit(5))
    handler.load("account-1").state.deposit(100)
    handler.handle("account-1", lambda account: account.pay_with_fee(4, 1))
    assert handler.load("account-1").state.balance == 0


def test_aggregates_are_tested_as_deciders_are() -> None:
    given = given_for(AggregateDecider(ByValues))
    given(Deposited(5)).when(PayWithFee(3, 1)).then(Paid(3), FeeTaken(1))
    given(Deposited(5)).when(PayWithFee(5, 1)).then_refused(NotEnough, "there is 0")


def test_an_aggregate_without_apply_says_so(store: EventStore) -> None:
    class Forgetful(Aggregate):
        pass

    handler = CommandHandler(store, AggregateDecider(Forgetful))
    with pytest.raises(NotImplementedError, match=r"Forgetful has no apply\(\)"):
        in_thread(lambda: handler.handle("account-1", lambda it: it.record(Deposited(1)))).result(timeout=PATIENCE)

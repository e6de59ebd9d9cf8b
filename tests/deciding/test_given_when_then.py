"""The given/when/then form passes where the rule holds, and fails with both sides shown where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from sacho import AggregateDecider, CommandRefused, Decider
from sacho.testing import given_for
from tests.deciding.accounts import (
    Accounts,
    Balance,
    Break,
    Deposit,
    Deposited,
    FeeTaken,
    Look,
    NotEnough,
    Paid,
    Pay,
    PayWithFee,
    Spoil,
    Spoiled,
)
from tests.deciding.test_aggregates import Account

given = given_for(Accounts())


def test_events_as_decided_pass() -> None:
    given(Deposited(5)).when(PayWithFee(3, 1)).then(Paid(3), FeeTaken(1)).state_is(Balance(1, 3))
    given().when(Deposit(5)).then(Deposited(5))


@pytest.mark.parametrize("expected", [[], [Paid(4)], [Paid(3), Paid(3)], [Deposited(3)]], ids=str)
def test_other_events_fail_and_both_are_shown(expected: list[Any]) -> None:
    with pytest.raises(AssertionError, match=r"(?s)the events of Pay\(amount=3\).*Paid\(amount=3\).*expected"):
        given(Deposited(5)).when(Pay(3)).then(*expected)


def test_events_in_another_order_fail() -> None:
    with pytest.raises(AssertionError):
        given(Deposited(5)).when(PayWithFee(3, 1)).then(FeeTaken(1), Paid(3))


def test_nothing_passes_where_nothing_happens_and_fails_where_something_does() -> None:
    given().when(Look()).then_nothing()
    with pytest.raises(AssertionError):
        given().when(Deposit(1)).then_nothing()


def test_a_refusal_is_not_nothing() -> None:
    scenario = given().when(Pay(1))
    for step in (scenario.then_nothing, scenario.then, lambda: scenario.state_is(Balance())):
        with pytest.raises(AssertionError, match="was refused") as failed:
            step()
        assert isinstance(failed.value.__cause__, NotEnough)


def test_a_refusal_as_expected_passes_and_is_handed_back() -> None:
    refusal = given(Deposited(1)).when(Pay(5)).then_refused(NotEnough, "there is 1")
    assert (refusal.balance, refusal.wanted) == (1, 5)
    given().when(Pay(5)).then_refused(CommandRefused)


def test_a_missing_refusal_fails_and_shows_what_happened() -> None:
    with pytest.raises(AssertionError, match=r"(?s)was not refused but led to.*Deposited"):
        given().when(Deposit(1)).then_refused(NotEnough)


def test_another_refusal_or_another_text_fails() -> None:
    with pytest.raises(AssertionError, match="not ZeroDivisionError"):
        given().when(Pay(5)).then_refused(ZeroDivisionError)
    with pytest.raises(AssertionError, match="not NotEnough with 'no money'"):
        given().when(Pay(5)).then_refused(NotEnough, "no money")


def test_a_bug_is_no_refusal_of_the_domain() -> None:
    with pytest.raises(AssertionError, match="a bug in decide"):
        given().when(Break()).then_refused(CommandRefused)


def test_a_bug_in_evolve_is_raised_as_it_is() -> None:
    with pytest.raises(LookupError, match="a bug in evolve"):
        given(Spoiled())
    with pytest.raises(LookupError, match="a bug in evolve"):
        given().when(Spoil())


def test_the_state_after_what_was_given_can_be_asserted() -> None:
    given(Deposited(5), Paid(2)).state_is(Balance(3, 2))
    with pytest.raises(AssertionError, match="the state after what was given"):
        given(Deposited(5)).state_is(Balance(4, 1))


def test_the_state_after_a_command_can_be_asserted() -> None:
    given(Deposited(5)).when(Pay(2)).state_is(Balance(3, 2))
    with pytest.raises(AssertionError, match="the state after Pay"):
        given(Deposited(5)).when(Pay(2)).state_is(Balance(5, 1))


def test_one_beginning_serves_several_commands() -> None:
    five = given(Deposited(5))
    five.when(Pay(5)).then(Paid(5))
    five.when(Pay(5)).then(Paid(5))


def test_one_beginning_serves_several_commands_of_an_aggregate() -> None:
    five = given_for(AggregateDecider(Account))(Deposited(5))
    for _ in range(2):
        five.when(lambda account: account.pay_with_fee(3, 1)).then(Paid(3), FeeTaken(1))


def test_a_decider_that_lacks_a_part_says_which() -> None:
    class Empty(Decider[Any, int, Any]):
        initial = 0

    given_for(Empty())().when(Look()).then_refused(NotImplementedError, "Empty has no decide()")
    with pytest.raises(NotImplementedError, match=r"Empty has no evolve\(\)"):
        given_for(Empty())(Deposited(1))

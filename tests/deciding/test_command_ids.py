"""The same command again returns its first outcome, whatever has happened since and wherever it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

import sacho
from sacho import CommandHandler, EventStore, uuid7
from sacho.errors import InvalidName
from tests.deciding.accounts import (
    PATIENCE,
    REGISTRY,
    Accounts,
    Balance,
    Deposit,
    Deposited,
    FeeTaken,
    GatedAccounts,
    Hold,
    Look,
    NotEnough,
    Paid,
    Pay,
    PayWithFee,
    at_once,
    recorded_events,
    versions,
)


@pytest.mark.parametrize("command_id", ["pay 1", uuid7(), uuid4()], ids=["text", "uuid7", "uuid4"])
def test_the_same_command_again_returns_the_first_outcome(store: EventStore, command_id: str | UUID) -> None:
    handler = CommandHandler(store, Accounts())
    handler.handle("account-1", Deposit(10))
    first = handler.handle("account-1", PayWithFee(3, 1), command_id=command_id)
    assert handler.handle("account-1", PayWithFee(3, 1), command_id=command_id) == first
    assert recorded_events(store, "account-1") == [Deposited(10), Paid(3), FeeTaken(1)]


def test_the_first_outcome_stands_even_if_the_state_would_refuse_the_command_now(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    handler.handle("account-1", Deposit(10))
    first = handler.handle("account-1", Pay(10), command_id="pay all")
    handler.handle("account-1", Deposit(1))
    assert handler.handle("account-1", Pay(10), command_id="pay all") == first
    assert handler.load("account-1").state == Balance(1, 3)


def test_the_first_outcome_is_returned_by_another_handler(store: EventStore) -> None:
    first = CommandHandler(store, Accounts()).handle("account-1", Deposit(), command_id="d1")
    assert CommandHandler(store, Accounts()).handle("account-1", Deposit(), command_id="d1") == first
    assert versions(store, "account-1") == [1]


def test_the_first_outcome_is_returned_after_a_restart(file_url: str) -> None:
    with sacho.connect(file_url, registry=REGISTRY) as store:
        first = CommandHandler(store, Accounts()).handle("account-1", Deposit(), command_id="d1")
        CommandHandler(store, Accounts()).handle("account-1", Deposit())
    with sacho.connect(file_url, registry=REGISTRY) as store:
        assert CommandHandler(store, Accounts()).handle("account-1", Deposit(), command_id="d1") == first
        assert versions(store, "account-1") == [1, 2]


def test_an_id_belongs_to_its_stream(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    handler.handle("account-1", Deposit(), command_id="d1")
    assert handler.handle("account-2", Deposit(), command_id="d1").version == 1


def test_an_id_is_the_same_as_uuid_and_as_its_text(store: EventStore) -> None:
    handler, command_id = CommandHandler(store, Accounts()), uuid7()
    first = handler.handle("account-1", Deposit(), command_id=command_id)
    assert handler.handle("account-1", Deposit(), command_id=str(command_id)) == first


def test_a_command_that_recorded_nothing_is_decided_again(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    assert handler.handle("account-1", Look(), command_id="look").version == 0
    handler.handle("account-1", Deposit())
    assert handler.handle("account-1", Look(), command_id="look").version == 1


def test_a_command_that_was_refused_is_decided_again(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    with pytest.raises(NotEnough):
        handler.handle("account-1", Pay(1), command_id="p1")
    handler.handle("account-1", Deposit(1))
    assert handler.handle("account-1", Pay(1), command_id="p1").events == (Paid(1),)


@pytest.mark.parametrize("command_id", ["", "a\nb", "x" * 300])
def test_an_id_out_of_rules_is_refused_at_once(store: EventStore, command_id: str) -> None:
    handler = CommandHandler(store, Accounts())
    with pytest.raises(InvalidName):
        handler.handle("account-1", Deposit(), command_id=command_id)
    assert handler.handle("account-1", Deposit()).version == 1


def test_one_command_from_eight_threads_at_once_is_recorded_once(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    for number in range(20):
        outcomes = at_once(8, lambda _: handler.handle("account-1", Deposit(), command_id=f"d{number}"))
        assert set(outcomes) == {outcomes[0]}
    assert versions(store, "account-1") == list(range(1, 21))


def test_one_command_from_eight_handlers_at_once_is_recorded_once(store: EventStore) -> None:
    handlers = [CommandHandler(store, Accounts()) for _ in range(8)]
    for number in range(20):
        outcomes = at_once(8, lambda at: handlers[at].handle("account-1", Deposit(), command_id=f"d{number}"))
        assert set(outcomes) == {outcomes[0]}
    assert versions(store, "account-1") == list(range(1, 21))


def test_one_command_twice_in_one_batch_is_recorded_once(store: EventStore) -> None:
    decider = GatedAccounts()
    handler = CommandHandler(store, decider)
    held = handler.submit("account-1", Hold())
    assert decider.entered.wait(PATIENCE)
    twice = [handler.submit("account-1", Deposit(7), command_id="d7") for _ in range(2)]
    between = handler.submit("account-1", Deposit(1))
    decider.gate.set()
    first, second = (future.result(timeout=PATIENCE) for future in twice)
    assert first == second
    held.result(timeout=PATIENCE)
    between.result(timeout=PATIENCE)
    assert handler.load("account-1").state == Balance(9, 3)


def test_a_command_decided_by_two_handlers_with_different_events_keeps_those_of_the_first(store: EventStore) -> None:
    """The second handler has decided already, on an older state, when the first one's events come into the log."""

    class PayAll(Accounts):
        def __init__(self, first: CommandHandler[Any, Balance, Any] | None) -> None:
            super().__init__()
            self._first = first

        def decide(self, command: Any, state: Balance) -> Iterator[Any]:
            first, self._first = self._first, None
            if first is not None:
                store.append("account-1", [Deposited(5)])
                first.handle("account-1", Look(), command_id="all")
            return iter([Paid(state.amount)])

    store.append("account-1", [Deposited(10)])
    second = CommandHandler(store, PayAll(CommandHandler(store, PayAll(None))))
    outcome = second.handle("account-1", Look(), command_id="all")
    assert outcome.events == (Paid(15),)
    assert recorded_events(store, "account-1") == [Deposited(10), Deposited(5), Paid(15)]
    assert second.handle("account-1", Look(), command_id="all") == outcome

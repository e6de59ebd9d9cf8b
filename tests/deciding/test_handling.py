"""One command at a time: what comes back, what is recorded and with which metadata, and what a refusal leaves."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

import sacho
from sacho import CommandHandler, CommandRefused, EventStore
from sacho.errors import InvalidName, InvalidQuery, StoreClosed, UnregisteredEvent
from tests.deciding.accounts import (
    PATIENCE,
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
    recorded_events,
    versions,
)


def test_an_outcome_says_what_was_recorded_and_where(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    handler.handle("account-1", Deposit(10))
    outcome = handler.handle("account-1", PayWithFee(3, 1))
    last = list(store.read("account-1"))[-1]
    assert outcome.stream == "account-1"
    assert outcome.events == (Paid(3), FeeTaken(1))
    assert (outcome.version, outcome.position) == (3, last.position)


def test_the_events_of_a_command_are_in_the_log_in_order(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    handler.handle("account-1", Deposit(10))
    handler.handle("account-1", PayWithFee(3, 1))
    assert recorded_events(store, "account-1") == [Deposited(10), Paid(3), FeeTaken(1)]
    assert versions(store, "account-1") == [1, 2, 3]


def test_a_command_that_changes_nothing_says_where_the_stream_is(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    done = handler.handle("account-1", Deposit())
    handler.handle("account-2", Deposit())
    looked = handler.handle("account-1", Look())
    assert looked.events == ()
    assert (looked.version, looked.position) == (done.version, done.position)


def test_a_command_that_changes_nothing_on_an_unknown_stream_makes_no_stream(store: EventStore) -> None:
    outcome = CommandHandler(store, Accounts()).handle("account-1", Look())
    assert (outcome.version, outcome.position, outcome.events) == (0, 0, ())
    assert list(store.streams()) == []


def test_a_refusal_reaches_the_caller_with_its_facts(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    handler.handle("account-1", Deposit(2))
    with pytest.raises(NotEnough, match="there is 2, not 5") as refused:
        handler.handle("account-1", Pay(5))
    assert (refused.value.balance, refused.value.wanted) == (2, 5)
    assert isinstance(refused.value, CommandRefused)


def test_a_refused_command_leaves_nothing_behind_even_what_it_had_decided_before_the_refusal(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    handler.handle("account-1", Deposit(2))
    with pytest.raises(NotEnough):
        handler.handle("account-1", PayWithFee(2, 1))
    assert recorded_events(store, "account-1") == [Deposited(2)]
    assert handler.handle("account-1", Pay(2)).version == 2


@pytest.mark.parametrize(("command", "bug"), [(Break(), ZeroDivisionError), (Spoil(), LookupError)])
def test_a_bug_in_a_decider_is_told_as_it_is_and_leaves_nothing(
    store: EventStore, command: Any, bug: type[Exception]
) -> None:
    handler = CommandHandler(store, Accounts())
    handler.handle("account-1", Deposit(2))
    with pytest.raises(bug):
        handler.handle("account-1", command)
    assert recorded_events(store, "account-1") == [Deposited(2)]
    assert handler.handle("account-1", Deposit(3)).version == 2
    assert handler.load("account-1").state == Balance(5, 2)


def test_an_event_that_is_none_is_refused_and_leaves_nothing(store: EventStore) -> None:
    class Careless(Accounts):
        def decide(self, command: Any, state: Balance) -> Any:
            return ["no event"] if isinstance(command, Look) else super().decide(command, state)

        def evolve(self, state: Balance, event: Any) -> Balance:
            return state if event == "no event" else super().evolve(state, event)

    handler = CommandHandler(store, Careless())
    with pytest.raises(UnregisteredEvent):
        handler.handle("account-1", Look())
    assert handler.handle("account-1", Deposit(3)).version == 1


def test_submitted_commands_have_futures(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    done = handler.submit("account-1", Deposit(5)).result(timeout=PATIENCE)
    refused = handler.submit("account-1", Pay(6))
    assert (done.version, done.events) == (1, (Deposited(5),))
    assert isinstance(refused.exception(timeout=PATIENCE), NotEnough)


@pytest.mark.parametrize("stream", ["", "account\n1", 5])
def test_a_stream_id_out_of_rules_is_refused_at_once(store: EventStore, stream: Any) -> None:
    handler = CommandHandler(store, Accounts())
    for way in (handler.handle, handler.submit):
        with pytest.raises(InvalidName):
            way(stream, Deposit())
    with pytest.raises(InvalidName):
        handler.load(stream)


def test_after_the_store_is_closed_commands_are_told_so(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    handler.handle("account-1", Deposit())
    store.close()
    with pytest.raises(StoreClosed):
        handler.handle("account-1", Deposit())
    with pytest.raises(StoreClosed):
        handler.submit("account-1", Deposit()).result(timeout=PATIENCE)
    with pytest.raises(StoreClosed):
        handler.load("account-1")


# --- loading ------------------------------------------------------------------------------------------


def test_loading_folds_the_state_now_and_as_of_any_version(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    positions = [handler.handle("account-1", Deposit(amount)).position for amount in (1, 2, 3)]
    assert handler.load("account-1") == (Balance(6, 3), 3, positions[2])
    assert handler.load("account-1", to=2) == (Balance(3, 2), 2, positions[1])
    assert handler.load("account-1", to=0) == (Balance(), 0, 0)
    assert handler.load("account-1", to=99).version == 3


def test_loading_a_stream_that_is_not_there_gives_the_initial_state(store: EventStore) -> None:
    assert CommandHandler(store, Accounts()).load("account-1") == (Balance(), 0, 0)


@pytest.mark.parametrize("to", [-1, True])
def test_loading_up_to_what_is_no_version_is_refused(store: EventStore, to: Any) -> None:
    with pytest.raises(InvalidQuery):
        CommandHandler(store, Accounts()).load("account-1", to=to)


def test_loading_many_pages_of_events_gives_the_whole_state(store: EventStore) -> None:
    store.append("account-1", [Deposited(1)] * 4_500)
    handler = CommandHandler(store, Accounts())
    assert handler.load("account-1").state == Balance(4_500, 4_500)
    assert handler.load("account-1", to=2_001).state == Balance(2_001, 2_001)
    assert handler.handle("account-1", Pay(4_500)).version == 4_501


# --- metadata -----------------------------------------------------------------------------------------


def metadata_of(store: EventStore, stream: str = "account-1") -> dict[str, Any]:
    *_, last = store.read(stream)
    return dict(last.metadata)


def test_a_command_without_surroundings_begins_a_correlation_of_its_own(store: EventStore) -> None:
    CommandHandler(store, Accounts()).handle("account-1", Deposit(), command_id="deposit 7")
    assert metadata_of(store) == {
        "correlation_id": "deposit 7",
        "causation_id": "deposit 7",
        "command": "Deposit",
    }


def test_a_command_without_an_id_is_given_one(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    handler.handle("account-1", Deposit())
    first = metadata_of(store)
    handler.handle("account-1", Deposit())
    assert UUID(first["causation_id"]).version == 7
    assert first["causation_id"] != metadata_of(store)["causation_id"]


def test_actor_and_more_are_put_on_events_for_a_block(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    with sacho.metadata(actor="ada", more={"channel": "phone"}), sacho.metadata(correlation_id="call 1"):
        handler.handle("account-1", Deposit(), command_id="d1")
    inside = metadata_of(store)
    handler.handle("account-1", Deposit())
    assert (inside["actor"], inside["channel"], inside["correlation_id"]) == ("ada", "phone", "call 1")
    assert inside["causation_id"] == "d1"
    assert "actor" not in metadata_of(store)


def test_a_submitted_command_carries_the_metadata_of_who_handed_it_in(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    with sacho.metadata(actor="ada"):
        waiting = handler.submit("account-1", Deposit())
    waiting.result(timeout=PATIENCE)
    assert metadata_of(store)["actor"] == "ada"


def test_a_command_caused_by_an_event_names_it_and_shares_its_correlation(store: EventStore) -> None:
    handler = CommandHandler(store, Accounts())
    handler.handle("account-1", Deposit(5), command_id="begin")
    cause = next(iter(store.read("account-1")))
    with sacho.caused_by(cause):
        handler.handle("account-2", Deposit(), command_id="follow")
    assert metadata_of(store, "account-2") == {
        "correlation_id": "begin",
        "causation_id": str(cause.id),
        "command": "Deposit",
        "command_id": "follow",
    }
    assert [recorded.stream for recorded in store.correlated("begin")] == ["account-1", "account-2"]


def test_an_event_without_correlation_becomes_the_root_of_what_it_causes(store: EventStore) -> None:
    store.append("account-1", [Deposited(1)])
    root = next(iter(store.read("account-1")))
    with sacho.caused_by(root):
        CommandHandler(store, Accounts()).handle("account-2", Deposit())
    assert metadata_of(store, "account-2")["correlation_id"] == str(root.id)

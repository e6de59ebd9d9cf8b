"""A command finds its handler through one chain, is handled once, and is refused by name where it may not pass."""

from __future__ import annotations

import pickle
import threading
from functools import partial
from typing import Any, Union
from uuid import UUID, uuid4

import msgspec
import pytest

import sacho
from sacho import CommandBus, Envelope, EventStore, call, route, uuid7
from sacho.deciding import Outcome, Retry
from sacho.deciding.routing import command_types
from sacho.errors import (
    CommandError,
    DuplicateRoute,
    InvalidCommand,
    InvalidInput,
    InvalidName,
    InvalidRoute,
    NoHandler,
    NotAuthorised,
    StorageBusy,
    StorageFailed,
    StorageFull,
    StorageUnreachable,
    StoreClosed,
)
from sacho.store import current_metadata
from tests.deciding.accounts import PATIENCE, Deposited, NotEnough, Paid, at_once, recorded_events
from tests.deciding.banking import (
    AT_ONCE,
    Bank,
    BankCommand,
    Notices,
    Notify,
    PutIn,
    TakeOut,
    Unheard,
    bank_bus,
    stream_of,
)


def no_step(envelope: Envelope) -> Envelope:
    return envelope


# --- routes -------------------------------------------------------------------------------------------


def test_a_command_is_handled_by_the_decider_of_its_route(store: EventStore) -> None:
    bus = bank_bus(store)
    assert bus.handle(PutIn("ada", 5)).events == (Deposited(5),)
    outcome = bus.handle(TakeOut("ada", 2))
    assert (outcome.stream, outcome.version, outcome.position, outcome.events) == (
        "account-ada",
        2,
        store.head(),
        (Paid(2),),
    )


def test_a_command_for_a_function_is_given_to_it_in_its_envelope(store: EventStore) -> None:
    notices = Notices()
    outcome = bank_bus(store, notices).handle(Notify("hello"), command_id="n1", actor="ada")
    assert outcome == Outcome("", 0, 0, ())
    (envelope,) = notices.envelopes
    assert (envelope.command, envelope.id, envelope.actor, envelope.origin) == (Notify("hello"), "n1", "ada", "caller")


@pytest.mark.parametrize(
    "commands",
    [
        PutIn | TakeOut,
        Union[PutIn, TakeOut],  # noqa: UP007 - this form, too
        (PutIn, TakeOut),
        (PutIn | TakeOut, PutIn),
        BankCommand,
        ((PutIn,), TakeOut),
    ],
)
def test_commands_are_named_as_a_union_or_a_tuple(commands: Any) -> None:
    assert command_types(commands) == (PutIn, TakeOut)


@pytest.mark.parametrize("commands", [(), None, PutIn("ada", 1), "PutIn", PutIn | None, list[int], Any])
def test_what_is_no_class_of_commands_is_refused_at_once(commands: Any) -> None:
    with pytest.raises(InvalidRoute):
        route(Bank(), commands, stream=stream_of)
    with pytest.raises(InvalidRoute):
        call(print, commands)


def test_a_route_that_cannot_be_meant_is_refused_at_once() -> None:
    with pytest.raises(InvalidRoute, match="stream='account-1'"):
        route(Bank(), PutIn, stream="account-1")  # type: ignore[arg-type]
    with pytest.raises(InvalidRoute, match="3 is no function"):
        call(3, PutIn)  # type: ignore[arg-type]
    with sacho.connect("memory://") as store:
        for routes in ([Bank()], route(Bank(), PutIn, stream=stream_of)):
            with pytest.raises(InvalidRoute, match="write"):
                CommandBus(store, routes)  # type: ignore[arg-type]


def test_two_routes_for_one_type_of_command_are_refused_naming_both() -> None:
    routes = [route(Bank(), BankCommand, stream=stream_of), call(print, Notify, TakeOut)]
    with sacho.connect("memory://") as store, pytest.raises(DuplicateRoute, match="TakeOut has two routes") as refused:
        CommandBus(store, routes)
    assert (refused.value.command, refused.value.first, refused.value.second) == (
        "TakeOut",
        "route(Bank)",
        "call(print)",
    )


def test_two_classes_of_one_name_are_refused_since_a_stored_command_is_known_by_it() -> None:
    other = msgspec.defstruct("PutIn", [("amount", int)])
    with sacho.connect("memory://") as store, pytest.raises(DuplicateRoute, match="PutIn"):
        CommandBus(store, [route(Bank(), (PutIn, other), stream=stream_of)])


def test_a_command_without_a_handler_is_refused_with_those_there_are(store: EventStore) -> None:
    bus = bank_bus(store, authorise=lambda _: False)
    with pytest.raises(NoHandler, match="no handler for Unheard") as refused:
        bus.handle(Unheard())
    assert (refused.value.command, refused.value.known) == ("Unheard", ("Notify", "PutIn", "TakeOut"))
    with pytest.raises(NoHandler):
        bus.submit(Unheard()).result(timeout=PATIENCE)


def test_errors_of_commands_survive_a_trip_between_processes() -> None:
    for error in (
        NoHandler(Unheard(), ["PutIn"]),
        InvalidCommand(Notify("x"), "$.text", "is bad"),
        NotAuthorised(Notify("x"), "ada", "no"),
        DuplicateRoute("PutIn", "a", "b"),
    ):
        back = pickle.loads(pickle.dumps(error))
        assert (type(back), str(back), back.__dict__) == (type(error), str(error), error.__dict__)
        assert isinstance(error, CommandError)


# --- the chain ----------------------------------------------------------------------------------------


def test_the_chain_tells_its_steps_in_the_order_in_which_they_happen(store: EventStore) -> None:
    happened: list[str] = []

    class Checked(msgspec.Struct, frozen=True):
        def check(self) -> None:
            happened.append("validate")

    class Step:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, envelope: Envelope) -> Envelope:
            happened.append(self.name)
            assert "correlation_id" not in envelope.metadata
            return envelope

    def third(envelope: Envelope) -> Envelope:
        happened.append("third")
        return envelope

    def may(envelope: Envelope) -> None:
        happened.append("authorise")

    def handle(command: Any, envelope: Envelope) -> None:
        happened.append("handle once")
        assert envelope.metadata["correlation_id"] == envelope.id

    bus = CommandBus(store, [call(handle, Checked)], steps=[Step("first"), Step("second"), third], authorise=may)
    bus.handle(Checked())
    assert bus.chain == ("validate", "first", "second", "third", "authorise", "correlate", "retry", "handle once")
    assert happened == ["validate", "first", "second", "third", "authorise", "handle once"]


def test_a_chain_without_a_hook_does_not_say_that_it_authorises(store: EventStore) -> None:
    assert bank_bus(store).chain == ("validate", "correlate", "retry", "handle once")


def test_a_step_may_put_another_envelope_in_the_place_of_its_own(store: EventStore) -> None:
    def authenticate(envelope: Envelope) -> Envelope:
        return msgspec.structs.replace(envelope, actor="ada", id="known", metadata={**envelope.metadata, "till": 3})

    bus = bank_bus(store, steps=[authenticate])
    first = bus.handle(PutIn("ada", 5))
    assert bus.handle(PutIn("ada", 5)) == first
    (recorded,) = store.read("account-ada")
    assert {"actor": "ada", "till": 3, "correlation_id": "known"}.items() <= recorded.metadata.items()


def test_an_actor_that_a_step_takes_away_is_on_no_event(store: EventStore) -> None:
    bus = bank_bus(store, steps=[lambda envelope: msgspec.structs.replace(envelope, actor=None)])
    with sacho.metadata(actor="ada"):
        bus.handle(PutIn("ada", 5))
        bus.submit(PutIn("ada", 5)).result(timeout=PATIENCE)
        bus.store(PutIn("ada", 5), command_id="c1", actor="bob")
    recorded = [*store.read("account-ada"), *store.read("sacho_command-c1")]
    assert ["actor" in one.metadata for one in recorded] == [False] * 3


def test_a_step_that_raises_or_returns_no_envelope_ends_the_chain(store: EventStore) -> None:
    def broken(envelope: Envelope) -> Envelope:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bank_bus(store, steps=[broken]).handle(PutIn("ada", 5))
    with pytest.raises(InvalidRoute, match="step '<lambda>' returned None"):
        bank_bus(store, steps=[lambda _: None]).handle(PutIn("ada", 5))
    assert store.head() == 0


def test_coroutine_functions_are_refused_where_nobody_awaits_them() -> None:
    async def waits(*_: Any) -> Any: ...

    class Waits:
        async def __call__(self, *_: Any) -> Any: ...

    with sacho.connect("memory://") as store:
        for one in (waits, partial(waits), Waits()):
            with pytest.raises(InvalidRoute, match="AsyncCommandBus"):
                bank_bus(store, steps=[one])
            with pytest.raises(InvalidRoute, match="AsyncCommandBus"):
                bank_bus(store, authorise=one)
            with pytest.raises(InvalidRoute, match="AsyncCommandBus"):
                CommandBus(store, [call(one, Notify)])
        for bus in (
            bank_bus(store, steps=[lambda envelope: waits(envelope)]),
            bank_bus(store, authorise=lambda envelope: waits(envelope)),
            CommandBus(store, [call(lambda *given: waits(*given), Notify)]),
        ):
            with pytest.raises(InvalidRoute):
                bus.handle(Notify("x"))
        with pytest.raises(InvalidRoute, match="3 cannot be called"):
            bank_bus(store, steps=[3])


# --- authorise ----------------------------------------------------------------------------------------


def test_a_hook_refuses_by_raising_or_by_false_and_nothing_is_recorded(store: EventStore) -> None:
    def tellers_only(envelope: Envelope) -> None:
        if envelope.actor != "teller":
            raise NotAuthorised(envelope.command, envelope.actor, "tellers only")

    bus = bank_bus(store, authorise=tellers_only)
    with pytest.raises(NotAuthorised, match="tellers only") as refused:
        bus.handle(PutIn("ada", 5), actor="ada")
    assert (refused.value.command, refused.value.actor, refused.value.reason) == ("PutIn", "ada", "tellers only")
    with pytest.raises(NotAuthorised, match="nobody in particular"):
        bank_bus(store, authorise=lambda _: False).handle(PutIn("ada", 5))
    assert store.head() == 0
    assert bus.handle(PutIn("ada", 5), actor="teller").version == 1


@pytest.mark.parametrize("answer", ["yes", 0, 1, ""])
def test_an_answer_that_means_nothing_lets_nothing_pass(store: EventStore, answer: object) -> None:
    with pytest.raises(InvalidRoute, match="return None or True"):
        bank_bus(store, authorise=lambda _: answer).handle(PutIn("ada", 5))
    assert store.head() == 0


def test_the_hook_is_told_who_and_from_where(store: EventStore) -> None:
    seen: list[Envelope] = []
    bus = bank_bus(store, authorise=seen.append)
    with sacho.metadata(actor="ada", more={"tenant": "north"}):
        bus.handle(PutIn("ada", 5))
        bus.handle(PutIn("ada", 5), actor="bob", metadata={"tenant": "south"}, origin="process")
        bus.store(PutIn("ada", 5), origin="inbox")
    told = [(one.actor, one.metadata["tenant"], one.origin) for one in seen]
    assert told == [("ada", "north", "caller"), ("bob", "south", "process"), ("ada", "north", "inbox")]


# --- correlate ----------------------------------------------------------------------------------------


def test_events_say_who_and_because_of_what(store: EventStore) -> None:
    bus, cause = bank_bus(store), uuid4()
    bus.handle(PutIn("ada", 5), command_id="c1", actor="ada", metadata={"till": 7})
    bus.handle(PutIn("ada", 5), command_id="c2", metadata={"correlation_id": cause, "causation_id": cause})
    first, second = store.read("account-ada")
    assert first.metadata == {
        "actor": "ada",
        "till": 7,
        "correlation_id": "c1",
        "causation_id": "c1",
        "command": "PutIn",
    }
    with sacho.metadata(actor="bob"), sacho.caused_by(first):
        bus.handle(PutIn("ada", 5), command_id="c3")
    (*_, third) = store.read("account-ada")
    assert second.metadata["correlation_id"] == second.metadata["causation_id"] == str(cause)
    assert second.metadata["command_id"] == "c2"
    assert third.metadata == {
        "actor": "bob",
        "correlation_id": "c1",
        "causation_id": str(first.id),
        "command": "PutIn",
        "command_id": "c3",
    }


def test_what_a_function_records_carries_its_commands_metadata(store: EventStore) -> None:
    def note(command: Notify, envelope: Envelope) -> None:
        assert current_metadata() == envelope.metadata
        store.append("account-notes", [Deposited(1)])

    bus = CommandBus(store, [call(note, Notify)])
    bus.handle(Notify("x"), command_id="n1", actor="ada")
    bus.submit(Notify("x"), command_id="n2", actor="ada").result(timeout=PATIENCE)
    metadata = [recorded.metadata for recorded in store.read("account-notes")]
    assert metadata == [{"actor": "ada", "correlation_id": id, "causation_id": id} for id in ("n1", "n2")]
    assert current_metadata() == {}


@pytest.mark.parametrize("given", [{"actor": 3}, {"metadata": "x"}, {"metadata": [1]}])
def test_metadata_that_cannot_be_meant_is_refused(store: EventStore, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        bank_bus(store).handle(PutIn("ada", 1), **given)


# --- handle once --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command_id", ["put 1", uuid7(), uuid4()], ids=["text", "uuid7", "uuid4"])
def test_the_same_id_again_returns_the_first_outcome(store: EventStore, command_id: str | UUID) -> None:
    bus = bank_bus(store)
    first = bus.handle(PutIn("ada", 5), command_id=command_id)
    assert bus.handle(PutIn("ada", 5), command_id=command_id) == first
    assert bus.submit(PutIn("ada", 5), command_id=str(command_id)).result(timeout=PATIENCE) == first
    assert recorded_events(store, "account-ada") == [Deposited(5)]


def test_sixteen_threads_with_the_same_ids_record_each_command_once(store: EventStore) -> None:
    buses = [bank_bus(store) for _ in range(2)]
    ids = [f"c{number}" for number in range(20)]

    def give(number: int) -> list[Outcome]:
        bus = buses[number % 2]
        if number % 4 < 2:
            return [bus.handle(PutIn("ada", 1), command_id=id) for id in ids]
        return [
            waiting.result(timeout=PATIENCE) for waiting in [bus.submit(PutIn("ada", 1), command_id=id) for id in ids]
        ]

    outcomes = at_once(16, give)
    assert outcomes == [outcomes[0]] * 16
    assert recorded_events(store, "account-ada") == [Deposited(1)] * 20


@pytest.mark.parametrize("command_id", ["", "a\nb", "x" * 300])
def test_an_id_out_of_rules_is_refused(store: EventStore, command_id: str) -> None:
    with pytest.raises(InvalidName):
        bank_bus(store).handle(PutIn("ada", 1), command_id=command_id)
    with pytest.raises(InvalidName):
        bank_bus(store).handle(Notify("x"), command_id=command_id)


def test_submitted_commands_share_commits_and_tell_their_refusals(store: EventStore) -> None:
    bus = bank_bus(store)
    waiting = [bus.submit(PutIn("ada", 1)) for _ in range(300)]
    assert sorted(one.result(timeout=PATIENCE).version for one in waiting) == list(range(1, 301))
    with pytest.raises(NotEnough):
        bus.submit(TakeOut("ada", 1_000)).result(timeout=PATIENCE)
    with pytest.raises(InvalidCommand):
        bus.submit(PutIn("ada", 0)).result(timeout=PATIENCE)
    assert bus.submit(Notify("x")).result(timeout=PATIENCE) == Outcome("", 0, 0, ())


def test_slow_functions_do_not_hold_up_commands_for_deciders(store: EventStore) -> None:
    """However many wait: they have threads of their own."""
    gate, entered = threading.Event(), threading.Semaphore(0)

    def slow(command: Notify, envelope: Envelope) -> None:
        entered.release()
        assert gate.wait(PATIENCE)

    bus = CommandBus(store, [route(Bank(), BankCommand, stream=stream_of), call(slow, Notify)])
    slowed = [bus.submit(Notify("x")) for _ in range(50)]
    assert all(entered.acquire(timeout=PATIENCE) for _ in range(8))
    assert {bus.submit(PutIn("ada", 1)).result(timeout=PATIENCE).version for _ in range(20)} == set(range(1, 21))
    gate.set()
    assert [one.result(timeout=PATIENCE).version for one in slowed] == [0] * 50


def test_closing_the_store_waits_for_functions_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    notices = Notices()
    with sacho.connect("memory://") as store:
        bus = bank_bus(store, notices)
        waiting = [bus.submit(Notify("x")) for _ in range(100)]
    assert [one.result(timeout=PATIENCE).version for one in waiting] == [0] * 100
    assert len(notices.envelopes) == 100
    assert [one.name for one in set(threading.enumerate()) - before if one.name.startswith("sacho-errands")] == []


def test_own_writes_are_noted(store: EventStore) -> None:
    bus = bank_bus(store)
    with sacho.own_writes() as own:
        outcome = bus.handle(PutIn("ada", 1))
        assert own.position == outcome.position
        assert bus.store(PutIn("ada", 1)).position == own.position


def test_a_closed_store_is_told() -> None:
    with sacho.connect("memory://") as store:
        bus = bank_bus(store)
    for attempt in (
        lambda: bus.handle(PutIn("ada", 1)),
        lambda: bus.submit(PutIn("ada", 1)).result(timeout=PATIENCE),
        lambda: bus.submit(Notify("x")).result(timeout=PATIENCE),
        lambda: bus.store(PutIn("ada", 1)),
    ):
        with pytest.raises(StoreClosed):
            attempt()


# --- retry --------------------------------------------------------------------------------------------


PASSING = [
    StorageBusy(1),
    StorageUnreachable("there", "gone"),
    StorageUnreachable("there", "gone", may_have_happened=True),
    StorageFailed("cut off", may_have_happened=True),
]


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_an_error_that_passes_is_met_by_the_same_command_again(store: EventStore, error: Exception) -> None:
    notices = Notices(error, error)
    bank_bus(store, notices).handle(Notify("x"))
    assert [one.id for one in notices.envelopes] == [notices.envelopes[0].id] * 3
    notices = Notices(error, error)
    bank_bus(store, notices).submit(Notify("x")).result(timeout=PATIENCE)
    assert [one.id for one in notices.envelopes] == [notices.envelopes[0].id] * 3


def test_tries_are_bounded_and_the_last_error_is_raised(store: EventStore) -> None:
    errors = [StorageUnreachable("there", f"gone {number}") for number in range(9)]
    notices = Notices(*errors)
    with pytest.raises(StorageUnreachable, match="gone 3"):
        bank_bus(store, notices).handle(Notify("x"))
    assert len(notices.envelopes) == AT_ONCE.attempts
    notices = Notices(*errors)
    with pytest.raises(StorageUnreachable, match="gone 0"):
        bank_bus(store, notices, retry=Retry(attempts=1)).handle(Notify("x"))
    assert len(notices.envelopes) == 1


@pytest.mark.parametrize(
    "error", [NotEnough(1, 2), StorageFull("disk"), StorageFailed("odd"), ValueError("x"), KeyError("y")], ids=repr
)
def test_a_refusal_or_a_fault_is_not_tried_again(store: EventStore, error: Exception) -> None:
    notices = Notices(error)
    with pytest.raises(type(error)):
        bank_bus(store, notices).handle(Notify("x"))
    assert len(notices.envelopes) == 1

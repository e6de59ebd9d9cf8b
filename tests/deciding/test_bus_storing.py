"""Commands in the log: stored, replaced, withdrawn; and their form there and back."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pydantic
import pytest

import sacho
from sacho import CommandBus, EventData, EventStore, call, uuid7
from sacho.errors import (
    DuplicateEventId,
    InvalidCommand,
    InvalidName,
    NoHandler,
    NotAuthorised,
    UnknownCommand,
    WrongExpectedVersion,
)
from sacho.events import CommandDue, CommandStored, CommandWithdrawn, command_stream
from tests.deciding.accounts import at_once, recorded_events
from tests.deciding.banking import Notify, PutIn, TakeOut, Unheard, bank_bus

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def life(store: EventStore, command_id: UUID | str) -> list[Any]:
    return recorded_events(store, command_stream(str(command_id)))


def fire(store: EventStore, command_id: str) -> bool:
    """Let a stored command become due, as the agenda does; tell whether it came through."""
    *_, last = store.read(command_stream(command_id))
    if not isinstance(last.event, CommandStored) or last.event.due_at is None:
        return False
    one = last.event
    due = CommandDue(one.command_id, one.command, one.data, one.key, last.event.due_at)
    try:
        store.append(command_stream(command_id), [due], expected=last.version or 0)
    except WrongExpectedVersion:
        return False
    return True


# --- storing ------------------------------------------------------------------------------------------


def test_a_stored_command_stands_in_the_log_with_its_name_and_fields(store: EventStore) -> None:
    stored = bank_bus(store).store(PutIn("ada", 5), at=NOON, command_id="c1")
    assert stored == ("c1", store.head())
    assert life(store, "c1") == [
        CommandStored("c1", "PutIn", {"account": "ada", "amount": 5}, key="account-ada", due_at=NOON)
    ]


def test_a_command_is_stored_under_a_new_id_for_as_soon_as_possible(store: EventStore) -> None:
    stored = bank_bus(store).store(Notify("x"))
    assert life(store, stored.command_id) == [
        CommandStored(stored.command_id, "Notify", {"text": "x"}, key=stored.command_id, due_at=None)
    ]


def test_a_key_is_the_stream_of_the_command_unless_given(store: EventStore) -> None:
    bus = bank_bus(store)
    stored = [bus.store(PutIn("ada", 5)), bus.store(PutIn("ada", 5), key="mine"), bus.store(Notify("x"), key="mine")]
    keys = [life(store, one.command_id)[0].key for one in stored]
    assert keys == ["account-ada", "mine", "mine"]


def test_a_stored_commands_event_says_who_and_because_of_what(store: EventStore) -> None:
    with sacho.metadata(actor="ada", more={"till": 3}):
        stored = bank_bus(store).store(PutIn("ada", 5), metadata={"correlation_id": "order 1"})
    (recorded,) = store.read(command_stream(stored.command_id))
    assert recorded.metadata == {
        "actor": "ada",
        "till": 3,
        "correlation_id": "order 1",
        "causation_id": stored.command_id,
    }


def test_the_same_command_stored_again_under_its_id_is_there_once(store: EventStore) -> None:
    bus, id = bank_bus(store), uuid7()
    first = bus.store(PutIn("ada", 5), at=NOON, command_id=id)
    zoned = NOON.astimezone(timezone(timedelta(hours=2)))
    assert bus.store(PutIn("ada", 5), at=zoned, command_id=str(id)) == first
    assert bank_bus(store).store(PutIn("ada", 5), at=NOON, command_id=id) == first
    assert bus.withdraw(id)
    assert bus.store(PutIn("ada", 5), at=NOON, command_id=id) == first
    assert [type(event) for event in life(store, id)] == [CommandStored, CommandWithdrawn]


def test_another_command_under_the_same_id_is_refused(store: EventStore) -> None:
    bus = bank_bus(store)
    bus.store(PutIn("ada", 5), at=NOON, command_id="c1")
    for command, at in ((PutIn("ada", 6), NOON), (PutIn("ada", 5), None), (TakeOut("ada", 5), NOON)):
        with pytest.raises(DuplicateEventId):
            bus.store(command, at=at, command_id="c1")
    assert len(life(store, "c1")) == 1


def test_what_could_not_be_handled_is_not_stored(store: EventStore) -> None:
    bus = bank_bus(store, authorise=lambda envelope: envelope.actor == "ada")
    for command, error in ((Unheard(), NoHandler), (PutIn("ada", 0), InvalidCommand), (PutIn("ada", 1), NotAuthorised)):
        with pytest.raises(error):
            bus.store(command)
        with pytest.raises(error):
            bus.replace("c1", command)
    with pytest.raises(InvalidName):
        bus.store(PutIn("ada", 1), command_id="x" * 300, actor="ada")
    assert store.head() == 0


@pytest.mark.parametrize(
    ("at", "reason"), [(datetime(2030, 1, 1), "has no time zone"), ("noon", "no datetime"), (3, "no datetime")]
)
def test_a_time_without_a_zone_is_refused(store: EventStore, at: Any, reason: str) -> None:
    bus = bank_bus(store)
    with pytest.raises(InvalidCommand, match=reason) as refused:
        bus.store(PutIn("ada", 1), at=at)
    assert refused.value.path == "at"
    with pytest.raises(InvalidCommand, match=reason):
        bus.replace("c1", PutIn("ada", 1), at=at)
    assert store.head() == 0


# --- replacing and withdrawing ------------------------------------------------------------------------


def test_a_command_that_waits_is_replaced_and_keeps_its_key_unless_another_is_given(store: EventStore) -> None:
    bus = bank_bus(store)
    bus.store(PutIn("ada", 5), at=NOON, command_id="c1", key="k")
    later = NOON + timedelta(days=1)
    assert bus.replace("c1", TakeOut("bob", 1), at=later) == ("c1", store.head())
    assert bus.replace("c1", Notify("x"), key="other") == ("c1", store.head())
    assert life(store, "c1")[1:] == [
        CommandStored("c1", "TakeOut", {"account": "bob", "amount": 1}, "k", later),
        CommandStored("c1", "Notify", {"text": "x"}, "other", None),
    ]


def test_a_command_that_waits_is_withdrawn_once(store: EventStore) -> None:
    bus, id = bank_bus(store), uuid7()
    bus.store(PutIn("ada", 5), at=NOON, command_id=id)
    assert bus.withdraw(id) is True
    assert bus.withdraw(str(id)) is False
    assert bus.replace(id, PutIn("ada", 6), at=NOON) is None
    assert life(store, id)[1:] == [CommandWithdrawn(str(id))]
    assert [recorded.event for recorded in store.correlated(id)] == life(store, id)


def test_what_is_due_or_was_stored_for_at_once_can_no_longer_be_changed(store: EventStore) -> None:
    bus = bank_bus(store)
    bus.store(PutIn("ada", 5), at=NOON, command_id="c1")
    assert fire(store, "c1")
    bus.store(PutIn("ada", 5), command_id="c2")
    for id in ("c1", "c2"):
        before = life(store, id)
        assert bus.withdraw(id) is False
        assert bus.replace(id, PutIn("ada", 6), at=NOON) is None
        assert life(store, id) == before


def test_an_id_that_was_never_stored_is_told(store: EventStore) -> None:
    bus = bank_bus(store)
    with pytest.raises(UnknownCommand, match="'c1'") as refused:
        bus.withdraw("c1")
    assert refused.value.command_id == "c1"
    with pytest.raises(UnknownCommand):
        bus.replace("c1", PutIn("ada", 1))
    assert store.head() == 0


def test_of_withdrawing_and_firing_at_once_one_comes_through(store: EventStore) -> None:
    buses = [bank_bus(store) for _ in range(2)]
    for number in range(30):
        id = f"c{number}"
        buses[0].store(PutIn("ada", 5), at=NOON, command_id=id)
        won = at_once(
            4,
            lambda at, id=id: fire(store, id) if at % 2 else buses[at // 2].withdraw(id),  # type: ignore[misc]
        )
        assert sum(won) == 1
        assert [type(event) for event in life(store, id)][1:] in ([CommandDue], [CommandWithdrawn])
        assert isinstance(life(store, id)[1], CommandDue) == (won[1] or won[3])


def test_of_replacing_and_firing_at_once_what_was_replaced_is_not_fired(store: EventStore) -> None:
    bus = bank_bus(store)
    for number in range(30):
        id = f"c{number}"
        bus.store(PutIn("ada", 5), at=NOON, command_id=id)
        replaced, fired = at_once(
            2,
            lambda at, id=id: fire(store, id) if at else bus.replace(id, PutIn("ada", 6), at=NOON) is not None,  # type: ignore[misc]
        )
        events = life(store, id)
        assert len(events) == 1 + replaced + fired
        if fired:
            assert events[-1] == CommandDue(id, "PutIn", events[-2].data, "account-ada", NOON)
            assert events[-1].data["amount"] == (6 if replaced else 5)


# --- the stored form ----------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


class Part(msgspec.Struct, frozen=True, tag="part"):
    price: Decimal
    colour: Colour = Colour.RED


class Whole(msgspec.Struct, frozen=True, tag="whole"):
    parts: tuple[Part, ...]


class Everything(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    price: Decimal
    order_id: UUID
    at: datetime
    day: date
    hour: time
    within: timedelta
    colour: Colour
    raw: bytes
    of: Part | Whole
    names: frozenset[str]
    counts: dict[int, float]
    big: int = 2**60
    maybe: str | None = None
    note: str | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True)
class AsDataclass:
    at: datetime
    parts: list[Part]


class AsModel(pydantic.BaseModel):
    price: Decimal
    names: set[str]


class AsTuple(msgspec.Struct, array_like=True):
    price: Decimal


EVERYTHING = Everything(
    price=Decimal("1.50"),
    order_id=uuid4(),
    at=datetime(2030, 1, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=-3))),
    day=date(2030, 1, 1),
    hour=time(12, 30),
    within=timedelta(minutes=14, microseconds=1),
    colour=Colour.RED,
    raw=b"\x00\xff",
    of=Whole((Part(Decimal("0.10")),)),
    names=frozenset({"c", "a", "b"}),
    counts={2: 1.0, 1: 0.5},
)


@pytest.mark.parametrize(
    "command",
    [
        EVERYTHING,
        AsDataclass(NOON, [Part(Decimal("3.00"))]),
        AsModel(price=Decimal("1.50"), names={"b", "a"}),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_command_comes_back_from_the_log_as_it_was(store: EventStore, command: Any) -> None:
    bus = CommandBus(store, [call(print, Everything, AsDataclass, AsModel)])
    name, data = bus.stored_form(command)
    assert (name, bus.command(name, data)) == (type(command).__name__, command)
    (recorded,) = life(store, bus.store(command).command_id)
    assert (recorded.command, recorded.data) == (name, data)
    assert bus.command(recorded.command, recorded.data) == command


def test_the_stored_form_is_plain_and_in_one_order(store: EventStore) -> None:
    bus = CommandBus(store, [call(print, Everything)])
    _, data = bus.stored_form(EVERYTHING)
    assert msgspec.json.decode(msgspec.json.encode(data)) == data
    assert (data["price"], data["orderId"], data["names"]) == ("1.50", str(EVERYTHING.order_id), ["a", "b", "c"])


def test_a_command_that_json_cannot_carry_is_not_stored() -> None:
    class Loose(msgspec.Struct):
        value: Any = None

    class Owned(msgspec.Struct):
        value: Any = None

        def __post_init__(self) -> None:
            if isinstance(self.value, str):
                raise ValueError("no text")

    with sacho.connect("memory://") as store:
        bus = CommandBus(store, [call(print, Loose, Owned, AsTuple, str)])
        for command, reason in (
            (Loose(float("nan")), "nan is no JSON number"),
            (Loose(object()), "unsupported"),
            (AsTuple(Decimal(1)), "no object"),
            ("text", "no object"),
            (Owned(Decimal(1)), "no text"),
        ):
            with pytest.raises(InvalidCommand, match=reason):
                bus.store(command)
        assert store.head() == 0


def test_a_form_that_does_not_fit_is_told_by_its_field(store: EventStore) -> None:
    bus = bank_bus(store)
    with pytest.raises(NoHandler, match="no handler for Gone"):
        bus.command("Gone", {})
    for data, path in (
        ({"account": "ada", "amount": 0}, "$.amount"),
        ({"account": 3, "amount": 1}, "$.account"),
        ({"account": "ada"}, "$"),
        ([], "$"),
    ):
        with pytest.raises(InvalidCommand) as refused:
            bus.command("PutIn", data)  # type: ignore[arg-type]
        assert (refused.value.command, refused.value.path) == ("PutIn", path)


def test_a_stored_command_is_handled_once_under_its_id(store: EventStore) -> None:
    """As a worker does it: read, and hand to the bus with the id and where it came from."""
    bus = bank_bus(store)
    stored = bus.store(PutIn("ada", 5), actor="ada")
    (recorded,) = store.read(command_stream(stored.command_id))
    for _ in range(2):
        with sacho.caused_by(recorded):
            command = bus.command(recorded.event.command, recorded.event.data)
            bus.handle(command, command_id=recorded.event.command_id, actor=recorded.metadata["actor"], origin="stored")
    (event,) = store.read("account-ada")
    assert event.metadata == {
        "actor": "ada",
        "correlation_id": stored.command_id,
        "causation_id": str(recorded.id),
        "command": "PutIn",
        "command_id": stored.command_id,
    }
    assert EventData(event.event).event == event.event

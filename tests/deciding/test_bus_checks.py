"""A command's fields are what its class declares, or it is refused with the field's path before anything is read."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID, uuid4

import attrs
import msgspec
import pydantic
import pytest
from msgspec import UNSET, Meta, UnsetType

import sacho
from sacho import CommandBus, CommandRefused, EventStore, call
from sacho.errors import InvalidCommand
from tests.deciding.banking import PutIn, bank_bus


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Seat(msgspec.Struct, frozen=True):
    kind: str
    quantity: Annotated[int, Meta(ge=1, le=100)]


class Odd:
    """A class that msgspec does not know."""


class Order(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    order_id: UUID
    seats: list[Seat] = []
    price: Decimal = Decimal(0)
    code: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "ABC"
    at: Annotated[datetime, Meta(tz=True)] = datetime(2030, 1, 1, tzinfo=UTC)
    day: date | None = None
    within: timedelta = timedelta(hours=1)
    colour: Colour = Colour.RED
    way: Literal["post", "mail"] = "mail"
    counts: dict[str, int] = {}
    tags: frozenset[str] = frozenset()
    note: str | UnsetType = UNSET
    anything: Any = None
    odd: Odd = msgspec.field(default_factory=Odd)


ID = uuid4()


@contextmanager
def checking(cls: type) -> Iterator[tuple[CommandBus, list[Any]]]:
    """A bus that takes one type of command, and the commands that came through it."""
    taken: list[Any] = []
    with sacho.connect("memory://") as store:
        yield CommandBus(store, [call(lambda command, _: taken.append(command), cls)]), taken


@pytest.mark.parametrize(
    ("fields", "path", "reason"),
    [
        ({"order_id": str(ID)}, "$.order_id", "Expected `uuid`, got `str`"),
        ({"seats": [Seat("GA", 1), Seat("GA", 0)]}, "$.seats[1].quantity", "Expected `int` >= 1"),
        ({"seats": [Seat("GA", 101)]}, "$.seats[0].quantity", "Expected `int` <= 100"),
        ({"seats": [Seat(3, 1)]}, "$.seats[0].kind", "Expected `str`, got `int`"),  # type: ignore[arg-type]
        ({"seats": None}, "$.seats", "Expected `array`, got `null`"),
        ({"seats": [Odd()]}, "$.seats", "a value of type list does not belong there"),
        ({"price": 1.5}, "$.price", "Expected `decimal`, got `float`"),
        ({"price": "1.50"}, "$.price", "Expected `decimal`, got `str`"),
        ({"code": "abc"}, "$.code", "Expected `str` matching regex '^[A-Z]{3}$'"),
        ({"code": ID}, "$.code", "Expected `str`, got `uuid`"),
        ({"code": b"ABC"}, "$.code", "Expected `str`, got `bytes`"),
        ({"code": Odd()}, "$.code", "a value of type Odd does not belong there"),
        ({"code": UNSET}, "$.code", "a value of type UnsetType does not belong there"),
        ({"at": datetime(2030, 1, 1)}, "$.at", "Expected `datetime` with a timezone component"),
        ({"at": "2030-01-01T00:00:00Z"}, "$.at", "Expected `datetime`, got `str`"),
        ({"day": "2030-01-01"}, "$.day", "Expected `date | null`, got `str`"),
        ({"within": 60}, "$.within", "Expected `duration`, got `int`"),
        ({"colour": "green"}, "$.colour", "Invalid enum value 'green'"),
        ({"way": "foot"}, "$.way", "Invalid enum value 'foot'"),
        ({"counts": {"GA": "1"}}, "$.counts[...]", "Expected `int`, got `str`"),
        ({"counts": {1: 1}}, "$.counts", "a key: Expected `str`, got `int`"),
        ({"tags": frozenset({1})}, "$.tags[0]", "Expected `str`, got `int`"),
        ({"note": None}, "$.note", "Expected `str`, got `null`"),
    ],
)
def test_a_field_that_is_not_as_declared_is_named(fields: dict[str, Any], path: str, reason: str) -> None:
    command = Order(**{"order_id": ID, **fields})
    with checking(Order) as (bus, taken):
        with pytest.raises(InvalidCommand) as refused:
            bus.handle(command)
        assert (refused.value.command, refused.value.path, refused.value.reason) == ("Order", path, reason)
        assert taken == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"seats": [Seat("GA", 1)], "price": Decimal("1.50"), "counts": {"GA": 1}, "tags": frozenset("ab")},
        {"note": "x", "day": date(2030, 1, 1), "way": "post", "colour": Colour.BLUE},
        {"anything": Odd()},
        {"anything": [{1, "a"}, Decimal(1)]},
        {"odd": 3},
    ],
    ids=lambda fields: " ".join(fields) or "defaults",
)
def test_what_is_as_declared_or_cannot_be_checked_passes_as_it_is(fields: dict[str, Any]) -> None:
    command = Order(**{"order_id": ID, **fields})
    with checking(Order) as (bus, taken):
        bus.handle(command)
        assert taken[0] is command


@dataclass(frozen=True)
class AsDataclass:
    name: str
    quantity: Annotated[int, Meta(ge=1)]
    made: InitVar[int] = 0
    parts: list[str] = field(default_factory=list, init=False)

    def __post_init__(self, made: int) -> None:
        assert made == 0


@attrs.frozen
class AsAttrs:
    name: str
    quantity: Annotated[int, Meta(ge=1)]


class AsTuple(NamedTuple):
    name: str
    quantity: Annotated[int, Meta(ge=1)]


class AsArray(msgspec.Struct, frozen=True, array_like=True, tag=True, omit_defaults=True):
    name: str
    quantity: Annotated[int, Meta(ge=1)] = 1


@pytest.mark.parametrize("cls", [AsDataclass, AsAttrs, AsTuple, AsArray])
def test_classes_of_each_kind_are_checked(cls: Any) -> None:
    with checking(cls) as (bus, taken):
        bus.handle(cls("ann", 2))
        with pytest.raises(InvalidCommand) as refused:
            bus.handle(cls("ann", 0))
        assert refused.value.path == "$.quantity"
        with pytest.raises(InvalidCommand, match=r"\$.name"):
            bus.handle(cls(3, 2))
        assert taken == [cls("ann", 2)]


class AsModel(pydantic.BaseModel):
    name: str


class Plain:
    quantity: int = 0


def test_classes_that_check_themselves_or_declare_no_fields_pass() -> None:
    class Unresolved(msgspec.Struct):
        colour: Colour
        local: Nowhere  # type: ignore[name-defined]  # noqa: F821 - a name that cannot be found

    for command in (AsModel(name="ann"), Plain(), Unresolved(1, 2)):  # type: ignore[arg-type]
        with checking(type(command)) as (bus, taken):
            bus.handle(command)
            assert taken == [command]


class TooMuch(CommandRefused):
    pass


class Transfer(msgspec.Struct, frozen=True):
    amount: int
    error: Any = None

    def check(self) -> None:
        if self.error is not None:
            raise self.error


def test_a_command_checks_itself_after_its_fields() -> None:
    with checking(Transfer) as (bus, taken):
        with pytest.raises(InvalidCommand, match=r"\$.amount"):
            bus.handle(Transfer("x", TooMuch()))  # type: ignore[arg-type]
        with pytest.raises(InvalidCommand, match=r"Transfer is not valid at \$: odd"):
            bus.handle(Transfer(1, ValueError("odd")))
        with pytest.raises(InvalidCommand, match=r"\$.there"):
            bus.handle(Transfer(1, InvalidCommand("Transfer", "$.there", "odd")))
        for error in (TooMuch(), ZeroDivisionError()):
            with pytest.raises(type(error)):
                bus.handle(Transfer(1, error))
        bus.handle(Transfer(1))
        assert taken == [Transfer(1)]


def test_a_field_or_a_method_of_another_shape_called_check_is_let_be() -> None:
    class Field(msgspec.Struct):
        check: int

    class Method(msgspec.Struct):
        def check(self, other: object) -> None:
            raise AssertionError

    for command in (Field(1), Method()):
        with checking(type(command)) as (bus, taken):
            bus.handle(command)
            assert taken == [command]


def test_nothing_is_read_or_written_for_a_command_that_is_not_valid(store: EventStore) -> None:
    bus = bank_bus(store)
    store.close()
    with pytest.raises(InvalidCommand, match=r"PutIn is not valid at \$.amount: Expected `int` >= 1"):
        bus.handle(PutIn("ada", 0))
    with pytest.raises(InvalidCommand):
        bus.store(PutIn("ada", 0))

"""Events as JSON and back: everything an event may hold comes back as it was, and what JSON cannot carry is refused."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sacho
from sacho import Event, EventData, EventStore, RawEvent, Registry, event
from sacho.errors import InvalidEvent, PayloadTooLarge, UndecodableEvent, UnknownEventType, UnregisteredEvent
from sacho.schema import Encoding


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Seat(msgspec.Struct, frozen=True):
    row: int
    letter: str


@dataclasses.dataclass(frozen=True)
class Guest:
    name: str
    born: dt.date | None = None


class Kitchen(Event, type="schema-kitchen", register=False):
    """Holds one of everything, without any registration."""

    when: dt.datetime
    day: dt.date
    clock: dt.time
    span: dt.timedelta
    price: Decimal
    id: UUID
    color: Color
    level: Level
    names: set[str]
    ids: frozenset[UUID]
    days: set[dt.date]
    levels: set[Level]
    seats: list[Seat]
    guests: tuple[Guest, ...]
    by_name: dict[str, Seat]
    blob: bytes
    big: int
    small: int
    ratio: float
    maybe: int | None
    kind: Literal["a", "b"]
    text: str
    nested: dict[str, dict[str, list[int]]]


KITCHEN = Kitchen(
    when=dt.datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=dt.UTC),
    day=dt.date(1, 1, 1),
    clock=dt.time(12, 30, 15, 5),
    span=dt.timedelta(days=-3, microseconds=7),
    price=Decimal("1234567890.1234567890123456789"),
    id=UUID(int=5),
    color=Color.BLUE,
    level=Level.HIGH,
    names={"b", "ä", "a"},
    ids=frozenset({UUID(int=2), UUID(int=1)}),
    days={dt.date(2024, 1, 2), dt.date(2024, 1, 1)},
    levels={Level.HIGH, Level.LOW},
    seats=[Seat(1, "A"), Seat(2, "B")],
    guests=(Guest("Ann", dt.date(2000, 1, 1)), Guest("Bob")),
    by_name={"z": Seat(9, "Z"), "a": Seat(1, "A")},
    blob=b"\x00\xff\x80",
    big=2**200 + 1,
    small=-(2**63) - 1,
    ratio=0.1 + 0.2,
    maybe=None,
    kind="b",
    text="nul \x00, tab \t, \U0001f3ab, e\u0301, \u2028, \x7f, </script>, \\u0000",
    nested={"b": {"y": [1], "x": [2]}, "a": {}},
)


@event(type="schema-dataclass", register=False)
@dataclasses.dataclass(frozen=True)
class AsDataclass:
    when: dt.datetime
    price: Decimal
    id: UUID
    color: Color
    names: frozenset[str]
    seats: list[Seat]
    guest: Guest
    blob: bytes
    big: int = 2**80


@event(type="schema-attrs", register=False)
@attrs.frozen
class AsAttrs:
    when: dt.datetime
    price: Decimal
    id: UUID
    color: Color
    names: frozenset[str]
    seats: list[Seat]
    guest: Guest
    blob: bytes
    big: int = 2**80


class PydanticSeat(pydantic.BaseModel):
    row: int
    letter: str


@event(type="schema-pydantic", register=False)
class AsPydantic(pydantic.BaseModel):
    when: dt.datetime
    price: Decimal
    id: UUID
    color: Color
    names: frozenset[str]
    seats: list[PydanticSeat]
    span: dt.timedelta
    level: Level
    big: int = 2**80


@event(type="schema-pydantic-bytes", register=False)
class PydanticBytes(pydantic.BaseModel):
    blob: bytes


@event(type="schema-pydantic-alias", register=False)
class PydanticAlias(pydantic.BaseModel):
    number: int = pydantic.Field(alias="theNumber", default=1)


@event(type="schema-pydantic-computed", register=False)
class PydanticComputed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    number: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.number


@event(type="schema-pydantic-any", register=False)
class PydanticAny(pydantic.BaseModel):
    value: Any = None


class Anything(Event, type="schema-anything", register=False):
    value: Any = None


COMMON: Mapping[str, Any] = {
    "when": dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC),
    "price": Decimal("10.50"),
    "id": UUID(int=7),
    "color": Color.RED,
    "names": frozenset({"b", "a"}),
}
REGISTRY = Registry(
    Kitchen,
    AsDataclass,
    AsAttrs,
    AsPydantic,
    PydanticBytes,
    PydanticAlias,
    PydanticComputed,
    PydanticAny,
    Anything,
)


@pytest.fixture
def encoding() -> Encoding:
    return Encoding(REGISTRY)


def encoded(encoding: Encoding, event: Any) -> str:
    return encoding.encode(event, lambda: b"i" * 16, {}).data


def there_and_back(encoding: Encoding, event: Any) -> Any:
    found = encoding.encode(event, lambda: b"i" * 16, {})
    return encoding.decode(found.type, found.schema_version, found.data, ("a-1", 1, 1))


# --- there and back -----------------------------------------------------------------------------------


def test_an_event_of_everything_comes_back_as_it_was(encoding: Encoding) -> None:
    assert there_and_back(encoding, KITCHEN) == KITCHEN


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
def test_an_event_of_everything_comes_back_from_the_log(url: str, tmp_path: Any) -> None:
    where = f"sqlite:///{tmp_path / 'log.db'}" if url == "sqlite" else url
    with sacho.connect(where, registry=REGISTRY) as store:
        store.append("a-1", [KITCHEN])
        assert [recorded.event for recorded in store.read("a-1")] == [KITCHEN]


@pytest.mark.parametrize("cls", [AsDataclass, AsAttrs])
def test_dataclasses_and_attrs_classes_come_back_as_they_were(encoding: Encoding, cls: Any) -> None:
    given = cls(**COMMON, seats=[Seat(1, "A")], guest=Guest("Ann"), blob=b"\xff\x00")
    assert there_and_back(encoding, given) == given


class Members(Event, type="schema-members", register=False):
    colors: set[Color] = set()
    days: frozenset[dt.date] = frozenset()
    prices: set[Decimal] = set()
    seats: frozenset[Seat] = frozenset()
    pairs: set[tuple[int, str]] = set()


@pytest.mark.parametrize(
    "given",
    [
        Members(colors={Color.RED, Color.BLUE}),
        Members(days=frozenset({dt.date(2024, 1, 2), dt.date(2024, 1, 1)})),
        Members(prices={Decimal("1.5"), Decimal("0.3")}),
        Members(seats=frozenset({Seat(1, "A"), Seat(2, "B")})),
        Members(pairs={(2, "b"), (1, "a")}),
    ],
    ids=lambda given: next(name for name in given.__struct_fields__ if getattr(given, name)),
)
def test_sets_come_back_whatever_their_members_are(given: Members) -> None:
    assert there_and_back(Encoding(Registry(Members)), given) == given


class Keyed(Event, type="schema-keyed", register=False):
    numbers: dict[int, str] = {}
    ids: dict[UUID, int] = {}
    colors: dict[Color, int] = {}
    days: dict[dt.date, int] = {}


@pytest.mark.parametrize(
    "given",
    [
        Keyed(numbers={10: "a", 9: "b"}),
        Keyed(ids={UUID(int=2): 1, UUID(int=1): 2}),
        Keyed(colors={Color.RED: 1, Color.BLUE: 2}),
        Keyed(days={dt.date(2024, 1, 2): 1, dt.date(2024, 1, 1): 2}),
    ],
    ids=lambda given: next(name for name in given.__struct_fields__ if getattr(given, name)),
)
def test_dictionaries_come_back_whatever_their_keys_are(given: Keyed) -> None:
    assert there_and_back(Encoding(Registry(Keyed)), given) == given


class PartlyUnset(Event, type="partly-unset", register=False):
    counts: dict[int, int]
    note: str | msgspec.UnsetType = msgspec.UNSET


def test_a_field_that_is_unset_is_left_out_whatever_stands_beside_it() -> None:
    """Keys that are no text are put in order by hand. Seen to fail with UNSET taken for a value there."""
    given = PartlyUnset({2: 1, 1: 2})
    assert there_and_back(Encoding(Registry(PartlyUnset)), given) == given


def test_pydantic_models_come_back_as_they_were(encoding: Encoding) -> None:
    given = AsPydantic(
        **COMMON, seats=[PydanticSeat(row=1, letter="A")], span=dt.timedelta(days=1, seconds=5), level=Level.HIGH
    )
    assert there_and_back(encoding, given) == given


def test_bytes_of_a_pydantic_model_come_back_as_they_were_or_are_refused(encoding: Encoding) -> None:
    """Pydantic writes bytes as UTF-8 unless the model says base64; what it cannot write is refused, never changed."""
    given = PydanticBytes(blob=b"\x00 abc")
    assert there_and_back(encoding, given) == given
    with pytest.raises(InvalidEvent, match="utf-8"):
        encoded(encoding, PydanticBytes(blob=b"\x00\xff abc"))


def test_fields_of_a_pydantic_model_with_an_alias_come_back_as_they_were(encoding: Encoding) -> None:
    given = PydanticAlias(theNumber=7)
    assert there_and_back(encoding, given) == given


def test_a_pydantic_model_with_computed_fields_comes_back_as_it_was(encoding: Encoding) -> None:
    given = PydanticComputed(number=7)
    assert there_and_back(encoding, given) == given


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=12,
    )
)
def test_all_plain_json_comes_back_as_it_was(value: Any) -> None:
    try:
        value_text = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert value_text
    assert there_and_back(Encoding(REGISTRY), Anything(value)) == Anything(value)


@given(st.integers())
def test_whole_numbers_of_any_size_come_back_as_they_were(number: int) -> None:
    given = msgspec.structs.replace(KITCHEN, big=number, small=-number)
    assert there_and_back(Encoding(REGISTRY), given) == given


@given(st.datetimes(timezones=st.just(dt.UTC)), st.decimals(allow_nan=False, allow_infinity=False), st.dates())
def test_times_and_decimals_come_back_to_the_last_digit(when: dt.datetime, price: Decimal, day: dt.date) -> None:
    given = msgspec.structs.replace(KITCHEN, when=when, price=price, day=day)
    found = there_and_back(Encoding(REGISTRY), given)
    assert (found.when, found.day) == (when, day)
    assert found.price.as_tuple() == price.as_tuple()


def test_the_stored_form_is_json_that_anybody_reads(encoding: Encoding) -> None:
    data = json.loads(encoded(encoding, KITCHEN))
    assert data["price"] == "1234567890.1234567890123456789"
    assert data["day"] == "0001-01-01"
    assert data["seats"] == [{"row": 1, "letter": "A"}, {"row": 2, "letter": "B"}]
    assert data["big"] == 2**200 + 1
    assert data["maybe"] is None


# --- deterministic ------------------------------------------------------------------------------------


def test_the_order_of_keys_and_members_changes_nothing(encoding: Encoding) -> None:
    first = Anything({"b": {"y": 1, "x": 2}, "a": {"m", "k", "l"}})
    second = Anything({"a": {"l", "k", "m"}, "b": {"x": 2, "y": 1}})
    assert encoded(encoding, first) == encoded(encoding, second)


def test_the_order_of_a_pydantic_models_values_changes_nothing(encoding: Encoding) -> None:
    first, second = PydanticAny(value={"b": 1, "a": {"x", "y"}}), PydanticAny(value={"a": {"y", "x"}, "b": 1})
    assert encoded(encoding, first) == encoded(encoding, second)


def test_another_process_with_other_hashes_writes_the_same() -> None:
    program = (
        "from sacho import Event, Registry\n"
        "from sacho.schema import Encoding\n"
        "class E(Event): names: frozenset[str]; by: dict[str, set[str]]\n"
        "names = [f'n{i}' for i in range(50)]\n"
        "event = E(frozenset(names), {name: set(names[:5]) for name in set(names)})\n"
        "print(Encoding(Registry(E)).encode(event, lambda: b'i' * 16, {}).data)\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
    assert "n49" in texts.pop()


def test_metadata_is_deterministic_too(encoding: Encoding) -> None:
    first = encoding.encode(Anything(), lambda: b"i" * 16, {"b": 1, "a": {"y", "x"}})
    second = encoding.encode(Anything(), lambda: b"i" * 16, {"a": {"x", "y"}, "b": 1})
    assert first.metadata == second.metadata == '{"a":["x","y"],"b":1}'


# --- what JSON cannot carry ---------------------------------------------------------------------------

BAD_NUMBERS = [math.nan, math.inf, -math.inf]
WRAPPINGS: Mapping[str, Callable[[Any], Any]] = {
    "plain": lambda value: value,
    "in a list": lambda value: [1, value],
    "in a tuple": lambda value: (None, value),
    "in a set": lambda value: {value},
    "in a frozenset": lambda value: frozenset({value}),
    "in a dict": lambda value: {"a": {"b": [value]}},
    "as a key": lambda value: {value: 1},
    "as a key deep down": lambda value: {"a": [{value: None}]},
    "in a struct": lambda value: Seat(value, "A"),
    "in a dataclass": lambda value: Guest(value),
    "in a pydantic model": lambda value: PydanticAny(value=value),
}


@pytest.mark.parametrize("wrapping", [name for name in WRAPPINGS if name != "in a pydantic model"])
@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_nan_and_infinity_are_refused_wherever_they_stand(number: float, wrapping: str) -> None:
    with sacho.connect("memory://", registry=REGISTRY) as store:
        with pytest.raises(InvalidEvent) as caught:
            store.append("a-1", [Anything("fine"), Anything(WRAPPINGS[wrapping](number))])
        assert store.head() == 0
    assert caught.value.type == "schema-anything"


@pytest.mark.parametrize("wrapping", [name for name in WRAPPINGS if "dataclass" not in name and "struct" not in name])
@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_nan_and_infinity_are_refused_in_pydantic_models(encoding: Encoding, number: float, wrapping: str) -> None:
    with pytest.raises(InvalidEvent):
        encoded(encoding, PydanticAny(value=WRAPPINGS[wrapping](number)))


@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_nan_and_infinity_are_refused_in_raw_events_and_metadata(number: float) -> None:
    with sacho.connect("memory://", registry=REGISTRY) as store:
        with pytest.raises(InvalidEvent):
            store.append("a-1", [RawEvent("X", {"a": [number]})])
        with pytest.raises(InvalidEvent):
            store.append("a-1", [EventData(Anything(), metadata={"a": number})])
        with sacho.metadata(more={"deep": {"a": [number]}}), pytest.raises(InvalidEvent):
            store.append("a-1", [Anything()])
        assert store.head() == 0


@pytest.mark.parametrize("value", [None, "null", ["null", None], {"null": None}])
def test_the_word_null_is_no_nan(encoding: Encoding, value: Any) -> None:
    assert there_and_back(encoding, Anything(value)) == Anything(value)


@pytest.mark.parametrize("value", ["\ud800", ["a\udfff"], {"\ud800": 1}, {"a": {"b": "\ud834"}}])
def test_lone_surrogates_are_refused(encoding: Encoding, value: Any) -> None:
    with pytest.raises(InvalidEvent, match="surrogates"):
        encoded(encoding, Anything(value))
    with pytest.raises(InvalidEvent):
        encoding.encode(Anything(), lambda: b"i" * 16, {"a": value})


def cyclic() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize("value", [object(), lambda: None, 1j, {(1, 2): 3}, cyclic(), iter([1]), int])
def test_what_has_no_json_is_refused(encoding: Encoding, value: Any) -> None:
    with pytest.raises(InvalidEvent) as caught:
        encoded(encoding, Anything(value))
    assert caught.value.type == "schema-anything"
    assert caught.value.reason


@pytest.mark.parametrize("metadata", [{1: "a"}, {None: 1}, {"a": object()}, {"correlation_id": 5}])
def test_metadata_that_has_no_json_is_refused(encoding: Encoding, metadata: Any) -> None:
    with pytest.raises(InvalidEvent):
        encoding.encode(Anything(), lambda: b"i" * 16, metadata)


def test_a_correlation_id_is_bounded_alike_on_every_engine(encoding: Encoding) -> None:
    def encode(id: str) -> object:
        return encoding.encode(Anything(), lambda: b"i" * 16, {"correlation_id": id}).correlation_id

    assert encode("c" * 1024) == "c" * 1024
    for id in ("c" * 1025, "\u4e00" * 342):
        with pytest.raises(InvalidEvent, match="1024 are allowed"):
            encode(id)


# --- size ---------------------------------------------------------------------------------------------


def test_an_event_up_to_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    class Big(Event, register=False):
        text: str

    frame = len('{"text":""}')
    with sacho.connect("memory://", registry=Registry(Big), max_event_bytes=1_000) as store:
        store.append("a-1", [Big("x" * (1_000 - frame))])
        with pytest.raises(PayloadTooLarge) as caught:
            store.append("a-1", [Big("small"), Big("x" * (1_001 - frame))])
        assert store.head() == 1
    assert (caught.value.type, caught.value.size, caught.value.limit) == ("Big", 1_001, 1_000)


def test_the_limit_counts_bytes_and_is_one_mebibyte_unless_it_is_set() -> None:
    with sacho.connect("memory://", registry=REGISTRY) as store:
        store.append("a-1", [Anything("é" * (512 * 1024 - 20))])
        with pytest.raises(PayloadTooLarge, match="1,048,576"):
            store.append("a-1", [Anything("é" * (512 * 1024))])
        assert store.head() == 1


# --- classes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thing", [5, "text", None, {"a": 1}, object(), Seat(1, "A"), Anything, (1, 2)])
def test_an_object_of_no_declared_class_is_refused(encoding: Encoding, thing: Any) -> None:
    with pytest.raises(UnregisteredEvent) as caught:
        encoded(encoding, thing)
    assert caught.value.cls is type(thing)


def test_a_subclass_that_was_not_declared_is_refused(encoding: Encoding) -> None:
    class Later(AsDataclass): ...

    with pytest.raises(UnregisteredEvent):
        encoded(encoding, Later(**COMMON, seats=[], guest=Guest("Ann"), blob=b""))


def test_an_event_of_another_registry_is_refused() -> None:
    class Elsewhere(Event, register=False): ...

    with sacho.connect("memory://") as store:
        with pytest.raises(UnregisteredEvent, match="Elsewhere"):
            store.append("a-1", [Elsewhere()])
        assert store.head() == 0
    with sacho.connect("memory://", registry=Registry(Elsewhere)) as store:
        assert store.append("a-1", [Elsewhere()]).version == 1


@pytest.fixture
def raw_store() -> Any:
    with sacho.connect("memory://", registry=REGISTRY) as store:
        store.append("a-1", [Anything(1)])
        store.append("b-1", [RawEvent("schema-gone", {"x": [1, None]}, 4)])
        yield store


def test_an_unknown_type_on_reading_is_an_error_that_says_where(raw_store: EventStore) -> None:
    with pytest.raises(UnknownEventType) as caught:
        list(raw_store.read_all())
    assert (caught.value.type, caught.value.stream, caught.value.version, caught.value.position) == (
        "schema-gone",
        "b-1",
        1,
        2,
    )
    assert "raw=True" in str(caught.value)


def test_an_unknown_type_reads_as_a_raw_event_on_request(raw_store: EventStore) -> None:
    found = list(raw_store.read_all(raw=True))
    assert [recorded.event for recorded in found] == [
        RawEvent("schema-anything", {"value": 1}),
        RawEvent("schema-gone", {"x": [1, None]}, 4),
    ]
    assert [recorded.schema_version for recorded in found] == [1, 4]


def test_a_raw_event_is_written_back_as_it_was_read(raw_store: EventStore) -> None:
    (recorded,) = raw_store.read("b-1", raw=True)
    raw_store.append("c-1", [recorded.event])
    (again,) = raw_store.read("c-1", raw=True)
    assert (again.event, again.type, again.schema_version) == (recorded.event, "schema-gone", 4)


def test_an_event_that_does_not_fit_its_class_is_an_error_that_says_where(raw_store: EventStore) -> None:
    raw_store.append("d-1", [RawEvent("schema-kitchen", {"when": "never"})])
    with pytest.raises(UndecodableEvent, match="does not fit Kitchen") as caught:
        list(raw_store.read("d-1"))
    assert (caught.value.stream, caught.value.version, caught.value.position) == ("d-1", 1, 3)


def test_a_pydantic_event_that_does_not_fit_is_an_error_that_says_where(raw_store: EventStore) -> None:
    raw_store.append("d-1", [RawEvent("schema-pydantic", {"when": "never"})])
    with pytest.raises(UndecodableEvent, match="does not fit AsPydantic"):
        list(raw_store.read("d-1"))


def test_another_schema_version_is_an_error_that_names_both(raw_store: EventStore) -> None:
    raw_store.append("d-1", [RawEvent("schema-anything", {"value": 1}, 2)])
    with pytest.raises(UndecodableEvent, match=r"version 2.*is version 1"):
        list(raw_store.read("d-1"))


@pytest.mark.parametrize("version", [0, -1, True, 1.5, "1", None, 2**31, 2**70])
def test_a_raw_events_schema_version_is_a_whole_number_from_one(encoding: Encoding, version: Any) -> None:
    with pytest.raises(InvalidEvent, match="schema version"):
        encoded(encoding, RawEvent("X", {}, version))


@given(st.sampled_from(["a-1", None]), st.text())
def test_text_of_any_kind_is_either_kept_or_refused_whole(stream: str | None, text: str) -> None:
    with sacho.connect("memory://", registry=REGISTRY) as store:
        try:
            store.append(stream, [Anything(text)])
        except InvalidEvent:
            assert store.head() == 0
        else:
            assert [recorded.event for recorded in store.read_all()] == [Anything(text)]

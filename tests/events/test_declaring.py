"""How a class becomes an event: name, version and tags are given once and checked at once."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import sys
import types
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

import sacho
from sacho import Event, EventData, Registry, event
from sacho.errors import DuplicateEventType, InvalidEventClass, InvalidName
from sacho.events import declaration_of
from sacho.schema import Encoding, default_registry


class Color(enum.Enum):
    RED = "red"
    BLUE = 2


class Size(enum.StrEnum):
    LARGE = "large"


class Tagged(Event, type="events-tagged", register=False, tags=("v:{value}",)):
    value: Any = None


def declared(cls: type) -> Any:
    found = declaration_of(cls)
    assert found is not None
    return found


def tags_of(value: object) -> list[str]:
    return list(declared(Tagged).tags(Tagged(value)))


# --- names and versions -------------------------------------------------------------------------------


def test_a_type_name_is_the_class_name_unless_it_is_given() -> None:
    class Plain(Event, register=False): ...

    class Named(Event, type="something-else", version=3, register=False): ...

    assert (declared(Plain).type, declared(Plain).version) == ("Plain", 1)
    assert (declared(Named).type, declared(Named).version) == ("something-else", 3)


def test_a_type_name_says_nothing_of_module_or_place() -> None:
    class Inner(Event, register=False): ...

    assert "." not in declared(Inner).type


@pytest.mark.parametrize("name", ["", "a\nb", "x\x00", "é" * 128, "\ud800"])
def test_a_type_name_out_of_rules_is_refused(name: str) -> None:
    with pytest.raises(InvalidEventClass):
        type("X", (Event,), {}, type=name)


@pytest.mark.parametrize("version", [0, -1, 1.0, "1", True, None, 2**31])
def test_a_schema_version_is_a_whole_number_from_one(version: Any) -> None:
    with pytest.raises(InvalidEventClass, match="schema version"):
        type("X", (Event,), {}, version=version)


def test_two_classes_of_one_type_name_are_refused_and_named() -> None:
    class First(Event, type="events-once"): ...

    with pytest.raises(DuplicateEventType) as caught:

        class Second(Event, type="events-once"): ...

    assert caught.value.type == "events-once"
    assert caught.value.first is First
    assert "First" in str(caught.value)
    assert "Second" in str(caught.value)


def test_a_second_class_of_the_same_name_in_another_place_is_refused() -> None:
    def make() -> type:
        class EventsTwin(Event): ...

        return EventsTwin

    assert declared(make()).type == "EventsTwin"
    with pytest.raises(DuplicateEventType):
        make()


def test_a_refused_class_does_not_take_the_name() -> None:
    with pytest.raises(InvalidEventClass):

        class Broken(Event, type="events-free", tags=("k:{nothing}",)): ...

    class Sound(Event, type="events-free"): ...

    assert default_registry().find("events-free") is Sound


def test_a_module_that_is_loaded_again_brings_its_classes_anew() -> None:
    source = "from sacho import Event\nclass EventsReloaded(Event):\n    number: int = 0\n"
    module = types.ModuleType("events_reloaded")
    sys.modules["events_reloaded"] = module
    try:
        exec(source, module.__dict__)
        first: Any = vars(module)["EventsReloaded"]
        exec(source, module.__dict__)
        second: Any = vars(module)["EventsReloaded"]
        assert second is not first
        assert [default_registry().find("EventsReloaded")] == [second]
        with sacho.connect("memory://") as store:
            store.append("a-1", [second(5)])
            assert [recorded.event for recorded in store.read("a-1")] == [second(5)]
    finally:
        del sys.modules["events_reloaded"]


def test_an_open_store_reads_the_classes_of_a_module_that_was_loaded_again() -> None:
    source = "from sacho import Event\nclass EventsReloadedLive(Event):\n    number: int = 0\n"
    module = types.ModuleType("events_reloaded_live")
    sys.modules["events_reloaded_live"] = module
    try:
        exec(source, module.__dict__)
        with sacho.connect("memory://") as store:
            store.append("a-1", [module.EventsReloadedLive(5)])
            assert len(list(store.read("a-1"))) == 1
            exec(source, module.__dict__)
            (recorded,) = store.read("a-1")
            assert type(recorded.event) is module.EventsReloadedLive
    finally:
        del sys.modules["events_reloaded_live"]


def test_a_subclass_of_an_event_is_an_event_of_its_own() -> None:
    class Base(Event, type="events-base", register=False):
        number: int

    class Derived(Base, type="events-derived", version=2, register=False):
        text: str

    assert declared(Base).type == "events-base"
    assert (declared(Derived).type, declared(Derived).version) == ("events-derived", 2)


# --- immutability -------------------------------------------------------------------------------------


def test_an_event_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Tagged("x").value = "y"  # type: ignore[misc]


def test_an_event_class_cannot_be_made_mutable() -> None:
    with pytest.raises(InvalidEventClass, match="immutable"):
        type("X", (Event,), {}, frozen=False, register=False)


def test_equal_events_compare_equal_and_hash_alike() -> None:
    assert Tagged("x") == Tagged("x") != Tagged("y")
    assert len({Tagged("x"), Tagged("x")}) == 1


# --- tag templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        "k:{value:>10}",
        "k:{value!r}",
        "k:{value.name}",
        "k:{value[0]}",
        "k:{}",
        "k:{0}",
        "k:{ value}",
        "k:{other}",
        "k:{value",
        "k:value}",
        "k:{{value}}",
        "{value}",
        "{value}:k",
        "k{value}:x",
        ":{value}",
        "no-key",
        "",
        "k:\n{value}",
        5,
        None,
    ],
)
def test_a_template_that_is_more_than_text_and_fields_is_refused_when_the_class_is_made(template: Any) -> None:
    with pytest.raises(InvalidEventClass, match="Broken"):
        type("Broken", (Event,), {"__annotations__": {"value": str}}, tags=(template,), register=False)


def test_templates_are_a_list_not_one_text() -> None:
    with pytest.raises(InvalidEventClass, match="one text"):
        type("X", (Event,), {"__annotations__": {"value": str}}, tags="k:{value}", register=False)


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ("x", ["v:x"]),
        ("", ["v:"]),
        ("a:b", ["v:a:b"]),
        ("ä 日本", ["v:ä 日本"]),
        (5, ["v:5"]),
        (True, ["v:true"]),
        (False, ["v:false"]),
        (Decimal("1.50"), ["v:1.50"]),
        (UUID(int=1), ["v:00000000-0000-0000-0000-000000000001"]),
        (dt.date(2024, 2, 29), ["v:2024-02-29"]),
        (dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.UTC), ["v:2024-02-29T12:30:00+00:00"]),
        (Color.RED, ["v:red"]),
        (Color.BLUE, ["v:2"]),
        (Size.LARGE, ["v:large"]),
        (None, []),
        ([], []),
        (["a", "b"], ["v:a", "v:b"]),
        (("b", None, "a"), ["v:b", "v:a"]),
        ({"b", "a"}, ["v:a", "v:b"]),
        (frozenset({2, 1}), ["v:1", "v:2"]),
        ([Color.RED, Size.LARGE], ["v:red", "v:large"]),
        ([["a"], ["b"]], ["v:a", "v:b"]),
    ],
)
def test_a_template_is_filled_by_what_its_field_holds(value: object, tags: list[str]) -> None:
    assert tags_of(value) == tags


@pytest.mark.parametrize("value", ["a\nb", "\x00", "x" * 254, "\ud800", b"bytes", {"a": 1}, [{"a": 1}]])
def test_a_value_that_makes_no_tag_is_refused(value: object) -> None:
    with pytest.raises(InvalidName):
        tags_of(value)


def test_several_fields_in_one_template_make_every_pair() -> None:
    class Paired(Event, register=False, tags=("seat:{show}/{seats}", "kind:seat")):
        show: str | None
        seats: list[str]

    assert declared(Paired).tags(Paired("s", ["1", "2"])) == ["seat:s/1", "seat:s/2", "kind:seat"]
    assert declared(Paired).tags(Paired(None, ["1", "2"])) == ["kind:seat"]
    assert declared(Paired).tags(Paired("s", [])) == ["kind:seat"]


def test_braces_in_a_value_are_no_templates() -> None:
    assert tags_of("{value}") == ["v:{value}"]


def test_a_tags_method_computes_more() -> None:
    class Computed(Event, register=False, tags=("k:{number}",)):
        number: int

        def tags(self) -> list[str]:
            return [f"parity:{'odd' if self.number % 2 else 'even'}"]

    assert declared(Computed).tags(Computed(3)) == ["k:3", "parity:odd"]


def test_what_a_tags_method_computes_is_checked() -> None:
    class Computed(Event, register=False):
        def tags(self) -> list[str]:
            return ["no-key"]

    with pytest.raises(InvalidName, match="no-key"):
        declared(Computed).tags(Computed())


def test_a_field_called_tags_is_data_and_no_method() -> None:
    class Posted(Event, register=False, tags=("topic:{tags}",)):
        tags: list[str]

    assert declared(Posted).tags(Posted(["a", "b"])) == ["topic:a", "topic:b"]


def test_an_envelopes_tags_add_to_the_events() -> None:
    encoded = Encoding(Registry(Tagged)).encode(EventData(Tagged("x"), tags=("w:1", "v:x")), lambda: b"i" * 16, {})
    assert encoded.tags == ("v:x", "w:1")


# --- other kinds of classes ---------------------------------------------------------------------------


@event(type="events-dataclass", tags=("k:{number}",), register=False)
@dataclasses.dataclass(frozen=True)
class AsDataclass:
    number: int


@event(type="events-attrs", tags=("k:{number}",), register=False)
@attrs.frozen
class AsAttrs:
    number: int


@event(type="events-pydantic", tags=("k:{number}",), register=False)
class AsPydantic(pydantic.BaseModel):
    number: int


@event(type="events-struct", tags=("k:{number}",), register=False)
class AsStruct(msgspec.Struct, frozen=True):
    number: int


KINDS: Mapping[str, Any] = {
    "dataclass": AsDataclass,
    "attrs": AsAttrs,
    "pydantic": AsPydantic,
    "struct": AsStruct,
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_classes_take_part_through_the_decorator(kind: str) -> None:
    cls = KINDS[kind]
    assert declared(cls).type == f"events-{kind}"
    assert declared(cls).tags(cls(number=5)) == ["k:5"]


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_are_recorded_and_read_as_themselves(kind: str) -> None:
    cls = KINDS[kind]
    with sacho.connect("memory://", registry=Registry(cls)) as store:
        store.append("a-1", [cls(number=5)])
        (recorded,) = store.read("a-1")
    assert recorded.event == cls(number=5)
    assert type(recorded.event) is cls
    assert recorded.tags == {"k:5"}


@pytest.mark.parametrize("thing", [int, list, type("Plain", (), {})])
def test_a_class_without_declared_fields_is_refused(thing: type) -> None:
    with pytest.raises(InvalidEventClass):
        event()(thing)


def test_what_is_no_class_is_refused() -> None:
    with pytest.raises(InvalidEventClass, match="not a class"):
        event()(lambda: None)  # type: ignore[type-var]


@pytest.mark.parametrize("kind", KINDS)
def test_templates_of_other_kinds_are_checked_when_the_class_is_decorated(kind: str) -> None:
    with pytest.raises(InvalidEventClass, match="nothing"):
        event(type="events-never", tags=("k:{nothing}",))(KINDS[kind])
    assert default_registry().find("events-never") is None


def test_the_decorator_without_its_call_is_refused_at_once() -> None:
    with pytest.raises(TypeError):
        event(AsDataclass)  # type: ignore[call-arg, arg-type]

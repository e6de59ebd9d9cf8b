"""Frozen values: envelopes, expected versions, queries, conditions, names, and what a reader gets."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sacho
from sacho import (
    ANY,
    EXISTS,
    NO_STREAM,
    AppendCondition,
    Event,
    EventData,
    Query,
    QueryItem,
    RawEvent,
    errors,
    stream_id,
)
from sacho.errors import InvalidAppend, InvalidName, InvalidQuery, SachoError
from sacho.events import category_of


class ValuesNoted(Event, type="values-noted"):
    number: int = 0


# --- names --------------------------------------------------------------------------------------------

BAD_NAMES = ["", "a\x00b", "a\nb", "\t", "a\x7f", "a\x9f", "a\u2028", "\ud800", "x" * 256, "é" * 128, 5, None, b"a"]
GOOD_NAMES = ["a", " ", "a b", "x" * 255, "é" * 127, "日本", "\U0001f3ab", "%", "'", '"', "\\", "{}", "a\u0301"]


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if name is not None])
def test_a_stream_id_out_of_rules_is_refused_and_nothing_is_written(name: Any) -> None:
    with sacho.connect("memory://") as store:
        with pytest.raises(InvalidName) as caught:
            store.append(name, [ValuesNoted()])
        with pytest.raises(InvalidName):
            store.read(name)
        assert store.head() == 0
    assert caught.value.kind == "stream id"
    assert caught.value.name == name


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_stream_id_within_the_rules_is_taken(name: str) -> None:
    with sacho.connect("memory://") as store:
        store.append(name, [ValuesNoted()])
        assert [recorded.stream for recorded in store.read(name)] == [name]


@pytest.mark.parametrize("tag", ["", ":", ":value", "no-key", "k:\n", "k:" + "x" * 254, 5, None])
def test_a_tag_out_of_rules_is_refused(tag: Any) -> None:
    with pytest.raises(InvalidName):
        QueryItem(tags=[tag])
    with sacho.connect("memory://") as store:
        with pytest.raises(InvalidName):
            store.append("a-1", [EventData(ValuesNoted(), tags=(tag,))])
        assert store.head() == 0


def test_a_tag_may_have_an_empty_value_and_more_colons() -> None:
    assert QueryItem(tags=["k:", "a:b:c"]).tags == ("a:b:c", "k:")


def test_an_error_shows_a_long_name_in_short() -> None:
    with pytest.raises(InvalidName) as caught:
        stream_id("x" * 10_000, "1")
    assert len(str(caught.value)) < 250


def test_stream_id_joins_category_and_key() -> None:
    assert stream_id("seats", "42") == "seats-42"
    assert stream_id("seats", 42) == "seats-42"
    assert stream_id("seats", UUID(int=0)) == f"seats-{UUID(int=0)}"
    assert category_of(stream_id("seats", "a-b")) == "seats"


@pytest.mark.parametrize(
    ("category", "key"), [("a-b", "1"), ("", "1"), ("a", ""), ("a\n", "1"), ("a", "1\n"), (5, "1")]
)
def test_stream_id_refuses_what_would_not_come_apart_again(category: Any, key: Any) -> None:
    with pytest.raises(InvalidName):
        stream_id(category, key)


def test_stream_id_counts_the_whole_id() -> None:
    assert len(stream_id("a", "x" * 253)) == 255
    with pytest.raises(InvalidName, match="256"):
        stream_id("a", "x" * 254)


@given(st.text(min_size=1).filter(lambda text: "-" not in text), st.text(min_size=1))
def test_a_category_is_found_again_in_every_id(category: str, key: str) -> None:
    try:
        built = stream_id(category, key)
    except InvalidName:
        return
    assert category_of(built) == category


# --- envelopes and expected versions ------------------------------------------------------------------


@pytest.mark.parametrize("id", ["text", 5, UUID(int=7).bytes, str(UUID(int=7))])
def test_an_id_is_a_uuid(id: Any) -> None:
    with pytest.raises(InvalidAppend):
        EventData(ValuesNoted(), id=id)


def test_an_envelope_refuses_one_text_for_tags_and_no_mapping_for_metadata() -> None:
    with pytest.raises(InvalidAppend):
        EventData(ValuesNoted(), tags="k:v")
    with pytest.raises(InvalidAppend):
        EventData(ValuesNoted(), metadata=[1])  # type: ignore[arg-type]


def test_an_envelope_takes_any_list_of_tags_and_is_frozen() -> None:
    envelope = EventData(ValuesNoted(), tags=["k:v"])
    assert envelope.tags == ("k:v",)
    with pytest.raises(AttributeError):
        envelope.tags = ()  # type: ignore[misc]


@pytest.mark.parametrize("expected", [-1, -(2**70), True, False, 1.0, "1", None, "any"])
def test_an_expected_version_that_cannot_be_meant_is_refused(expected: Any) -> None:
    with sacho.connect("memory://") as store:
        with pytest.raises(InvalidAppend, match="expected"):
            store.append("a-1", [ValuesNoted()], expected=expected)
        assert store.head() == 0


def test_the_kinds_of_expected_version_say_their_names() -> None:
    assert (repr(ANY), str(EXISTS), NO_STREAM) == ("ANY", "EXISTS", 0)


# --- queries ------------------------------------------------------------------------------------------


def test_an_items_parts_are_sorted_and_without_repeats() -> None:
    item = QueryItem(types=["b", "a", "b"], tags=["z:1", "a:1", "a:1"], categories=["y", "x", "x"])
    assert (item.types, item.tags, item.categories) == (("a", "b"), ("a:1", "z:1"), ("x", "y"))


def test_items_that_mean_the_same_are_equal_and_hash_alike() -> None:
    first = QueryItem(types=["a", "b"], tags=iter(["k:1", "k:2"]))
    second = QueryItem(types=("b", "a"), tags={"k:2", "k:1"})
    assert first == second
    assert len({first, second}) == 1
    assert first != QueryItem(types=["a"])
    assert Query(first, second) == Query(second) == Query(first)
    assert hash(Query(first, second)) == hash(Query(first))
    assert Query() != Query(QueryItem())


def test_a_type_may_be_given_by_its_class() -> None:
    assert QueryItem(types=[ValuesNoted]) == QueryItem(types=["values-noted"])


@pytest.mark.parametrize("part", ["types", "tags", "categories"])
@pytest.mark.parametrize("given", ["text", 5, None])
def test_a_part_is_a_list(part: str, given: Any) -> None:
    with pytest.raises(InvalidQuery, match=part):
        QueryItem(**{part: given})


@pytest.mark.parametrize("part", ["types", "categories"])
@pytest.mark.parametrize("name", ["", "a\n", 5, None, "x" * 256])
def test_the_names_in_a_part_keep_the_rules(part: str, name: Any) -> None:
    with pytest.raises(InvalidName):
        QueryItem(**{part: [name]})


def test_a_class_that_is_no_event_has_no_type() -> None:
    with pytest.raises(InvalidName, match="not declared"):
        QueryItem(types=[int])


@pytest.mark.parametrize("item", ["text", None, {"types": ["a"]}, Query()])
def test_a_query_is_made_of_items(item: Any) -> None:
    with pytest.raises(InvalidQuery):
        Query(item)


def test_what_a_query_means() -> None:
    item = QueryItem(types=["A", "B"], tags=["k:1", "k:2"], categories=["seats"])
    assert item.matches("A", ["k:1", "k:2", "k:3"], "seats-1")
    assert item.matches("B", {"k:2", "k:1"}, "seats")
    assert not item.matches("C", ["k:1", "k:2"], "seats-1")
    assert not item.matches("A", ["k:1"], "seats-1")
    assert not item.matches("A", ["k:1", "k:2"], "orders-1")
    assert not item.matches("A", ["k:1", "k:2"], None)
    assert Query().matches("X", [], None)
    assert Query(QueryItem()).matches("X", [], None)
    assert Query(QueryItem(types=["A"]), QueryItem(tags=["k:9"])).matches("Z", ["k:9"], None)


@pytest.mark.parametrize("after", [-1, 1.5, "1", None, True])
def test_a_conditions_bound_is_a_position(after: Any) -> None:
    with pytest.raises(InvalidQuery, match="after"):
        AppendCondition(Query(), after)


def test_a_condition_is_over_a_query() -> None:
    with pytest.raises(InvalidQuery):
        AppendCondition(QueryItem())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        QueryItem(types=["a"], tags=["k:1"]),
        Query(QueryItem(categories=["a"])),
        AppendCondition(Query(QueryItem(tags=["k:1"])), 5),
        EventData(ValuesNoted(3), id=UUID(int=5), tags=("k:1",), metadata={"a": 1}),
        RawEvent("A", {"b": [1]}, 2),
    ],
)
def test_values_survive_copying_and_a_trip_between_processes(value: object) -> None:
    assert copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize("value", [QueryItem(types=["a"]), Query(), AppendCondition(Query()), RawEvent("A", 1)])
def test_values_are_frozen(value: Any) -> None:
    name = next(name for name in ("types", "items", "query", "type") if hasattr(value, name))
    with pytest.raises(AttributeError):
        setattr(value, name, ())


# --- what a reader gets -------------------------------------------------------------------------------


def test_a_recorded_event_tells_all_about_itself() -> None:
    id = uuid4()
    with sacho.connect("memory://") as store:
        store.append("a-1", [EventData(ValuesNoted(7), id=id, tags=("k:1", "k:2"), metadata={"actor": "Ann"})])
        (recorded,) = store.read("a-1")
    assert (recorded.id, recorded.stream, recorded.version, recorded.position) == (id, "a-1", 1, 1)
    assert (recorded.type, recorded.schema_version, recorded.event) == ("values-noted", 1, ValuesNoted(7))
    assert recorded.tags == frozenset({"k:1", "k:2"})
    assert recorded.metadata == {"actor": "Ann"}
    assert recorded.recorded_at.tzinfo is UTC
    assert abs(recorded.recorded_at - datetime.now(UTC)) < timedelta(minutes=5)
    for shown in ("a-1", "values-noted", str(id), "Ann", "k:1"):
        assert shown in repr(recorded)


def test_a_recorded_event_without_metadata_has_an_empty_one_of_its_own() -> None:
    with sacho.connect("memory://") as store:
        store.append(None, [ValuesNoted(), ValuesNoted()])
        first, second = store.read_all()
    assert (first.stream, first.version, first.tags, first.metadata) == (None, None, frozenset(), {})
    first.metadata["x"] = 1  # type: ignore[index]
    assert second.metadata == {}


def test_ids_that_were_not_given_are_ascending_uuids_of_version_seven() -> None:
    with sacho.connect("memory://") as store:
        store.append("a-1", [ValuesNoted() for _ in range(100)])
        ids = [recorded.id for recorded in store.read("a-1")]
    assert {id.version for id in ids} == {7}
    assert len(set(ids)) == 100
    assert [id.bytes[:6] for id in ids] == sorted(id.bytes[:6] for id in ids)


# --- errors -------------------------------------------------------------------------------------------


def error_classes() -> list[type[SachoError]]:
    return [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, SachoError)]


@pytest.mark.parametrize("cls", error_classes(), ids=lambda cls: cls.__name__)
def test_every_error_stands_in_the_tree_of_its_modules_docstring(cls: type[SachoError]) -> None:
    assert errors.__doc__ is not None
    assert f" {cls.__name__}" in errors.__doc__
    assert cls.__doc__


@pytest.mark.parametrize(
    "error",
    [
        errors.WrongExpectedVersion("a-1", EXISTS, 0),
        errors.AppendConditionFailed(3, 7),
        errors.DuplicateEventId([UUID(int=1), UUID(int=2)], "twice"),
        errors.InvalidName("tag", "x", "has no name"),
        errors.UnknownEventType("X", "a-1", 2, 3),
        errors.UnsupportedOperation("conditions", "x", {"durable"}),
        errors.StorageFailed("gone", may_have_happened=True),
        errors.PayloadTooLarge("X", 5, 4),
        errors.DestinationExists("backup.db"),
        errors.TargetHoldsOthers(5, "is another one"),
        errors.StreamClash("a-1", 2),
        errors.LogsDiffer(5, "is missing"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_keeps_its_facts_on_a_trip_between_processes(error: SachoError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)

"""Which class stands for which type name: one for each, in the default registry or in one's own."""

from __future__ import annotations

import pytest

import sacho
from sacho import Event, Query, QueryItem, Registry
from sacho.errors import DuplicateEventType, UnknownEventType, UnregisteredEvent
from sacho.schema import default_registry


class First(Event, type="registry-first", register=False):
    number: int = 0


class AlsoFirst(Event, type="registry-first", register=False):
    number: int = 0


class Second(Event, type="registry-second", register=False): ...


class Known(Event, type="registry-known"): ...


def test_the_default_registry_knows_every_declared_class_but_those_kept_out() -> None:
    assert default_registry().find("registry-known") is Known
    assert Known in default_registry()
    assert Known in list(default_registry())
    assert default_registry().find("registry-first") is None
    assert First not in default_registry()


def test_the_default_registry_knows_classes_that_are_declared_later() -> None:
    with sacho.connect("memory://") as store:

        class RegistryLate(Event): ...

        store.append("a-1", [RegistryLate()])
        assert [recorded.event for recorded in store.read("a-1")] == [RegistryLate()]


def test_a_registry_of_ones_own_knows_just_its_classes() -> None:
    registry = Registry(First, Second)
    assert list(registry) == [First, Second]
    assert registry.find("registry-first") is First
    assert registry.find("registry-known") is None
    with sacho.connect("memory://", registry=registry) as store, pytest.raises(UnregisteredEvent):
        store.append("a-1", [Known()])


def test_a_registry_without_classes_is_not_the_default_one() -> None:
    with sacho.connect("memory://", registry=Registry()) as store, pytest.raises(UnregisteredEvent):
        store.append("a-1", [Known()])


def test_two_classes_of_one_type_do_not_fit_one_registry() -> None:
    with pytest.raises(DuplicateEventType) as caught:
        Registry(First, AlsoFirst)
    assert (caught.value.first, caught.value.second) == (First, AlsoFirst)


def test_a_refused_class_leaves_the_first_in_place() -> None:
    registry = Registry(First)
    with pytest.raises(DuplicateEventType):
        registry.add(AlsoFirst)
    assert registry.find("registry-first") is First


def test_adding_a_class_twice_is_fine() -> None:
    registry = Registry(First, First)
    registry.add(First)
    assert list(registry) == [First]


@pytest.mark.parametrize("cls", [int, object, type("Plain", (), {})])
def test_a_class_that_was_not_declared_is_refused(cls: type) -> None:
    with pytest.raises(UnregisteredEvent) as caught:
        Registry(cls)
    assert caught.value.cls is cls


def test_a_class_added_later_is_read_by_a_store_that_is_open() -> None:
    registry = Registry(First)
    with sacho.connect("memory://", registry=registry) as store:
        store.append(None, [sacho.RawEvent("registry-second", {})])
        with pytest.raises(UnknownEventType):
            list(store.read_all())
        registry.add(Second)
        assert [recorded.event for recorded in store.read_all()] == [Second()]


def test_two_registries_read_one_type_as_their_own_classes(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with (
        sacho.connect(url, registry=Registry(First)) as one,
        sacho.connect(url, registry=Registry(AlsoFirst)) as other,
    ):
        one.append("a-1", [First(5)])
        query = Query(QueryItem(types=["registry-first"]))
        assert [recorded.event for recorded in one.read_all(query)] == [First(5)]
        assert [recorded.event for recorded in other.read_all(query)] == [AlsoFirst(5)]

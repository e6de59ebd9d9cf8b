"""Which class stands for which type name. The default registry knows every declared event class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sacho.errors import DuplicateEventType, UnregisteredEvent
from sacho.events.builtin import BUILT_IN
from sacho.events.declaring import DEFAULT_TYPES, Declaration, declaration_of


class Registry:
    """The event classes that a store can write and read, by type name.

    `Registry(SeatsReserved, SeatsReleased)` knows just these, and Sacho's own; hand it to `connect(url, registry=...)`.
    """

    def __init__(self, *classes: type) -> None:
        self._classes: dict[str, type] = {}
        for cls in (*BUILT_IN, *classes):
            self.add(cls)

    def add(self, cls: type) -> None:
        """Let a declared event class take part. Raises UnregisteredEvent or DuplicateEventType."""
        name = self.declaration(cls).type
        there = self._classes.setdefault(name, cls)
        if there is not cls:
            raise DuplicateEventType(name, there, cls)

    @property
    def classes(self) -> Mapping[str, type]:
        """The event classes by type name."""
        return self._classes

    def find(self, type: str) -> type | None:
        """Return the class of a type name, or None."""
        return self._classes.get(type)

    def declaration(self, cls: type) -> Declaration:
        """Return what was declared of an event class. Raises UnregisteredEvent for any other class."""
        declared = declaration_of(cls)
        if declared is None:
            raise UnregisteredEvent(cls)
        return declared

    def __iter__(self) -> Iterator[type]:
        return (cls for cls in self._classes.values() if cls not in BUILT_IN)

    def __contains__(self, cls: object) -> bool:
        return any(cls is known for known in self._classes.values())

    @classmethod
    def over(cls, classes: Mapping[str, type]) -> Registry:
        """Return a registry that follows `classes` as it grows."""
        registry = cls()
        registry._classes = classes  # type: ignore[assignment]  # read through: add() is not called on it
        return registry


_DEFAULT = Registry.over(DEFAULT_TYPES)


def default_registry() -> Registry:
    """Return the registry of every event class declared without `register=False`."""
    return _DEFAULT

"""How a class becomes an event type: its name, schema version and tag templates, given once and checked at once."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

import msgspec

from sacho.errors import DuplicateEventType, InvalidEventClass, InvalidName
from sacho.events.naming import checked_name, checked_tag

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T", bound=type)

_FIELD = re.compile(r"\{([^{}]*)\}")
_ATTRIBUTE = "__sacho_event__"

_KNOWN_TAGS: set[str] = set()
MAX_SCHEMA_VERSION = 2**31 - 1
_MOST_KNOWN_TAGS = 10_000

DEFAULT_TYPES: dict[str, type] = {}
"""Every event class that was declared without `register=False`, by its type name: the default registry's content."""


class TagTemplate(msgspec.Struct, frozen=True):
    """A tag to be filled from fields: the literal pieces around them, and the fields' names."""

    text: str
    pieces: tuple[str, ...]
    fields: tuple[str, ...]

    @classmethod
    def parse(cls, text: object, fields: Iterable[str]) -> Self:
        """Read `key:{field}`; raise ValueError if it names anything but plain fields of the class."""
        if not isinstance(text, str):
            raise ValueError(f"tag template {text!r} is not text")
        parts = _FIELD.split(text)
        pieces, names = tuple(parts[::2]), tuple(parts[1::2])
        if any("{" in piece or "}" in piece for piece in pieces):
            raise ValueError(f"tag template {text!r} has a brace without its partner")
        known = set(fields)
        for name in names:
            if name not in known:
                raise ValueError(f"tag template {text!r} names {name!r}, which is no field (fields: {sorted(known)})")
        checked_tag(pieces[0] if ":" in pieces[0] else text)
        if ":" not in pieces[0]:
            raise ValueError(f"tag template {text!r} needs its key in plain text before the first ':'")
        return cls(text, pieces, names)

    def fill(self, event: object) -> list[str]:
        """Return the tags of one event: none where a field is None, one for each member of a collection."""
        pieces = self.pieces
        if len(self.fields) == 1:
            value = getattr(event, self.fields[0])
            if value.__class__ is str:
                return [pieces[0] + value + pieces[1]]
        texts = [pieces[0]]
        for field, piece in zip(self.fields, pieces[1:], strict=True):
            values = _tag_values(getattr(event, field))
            texts = [f"{text}{value}{piece}" for text in texts for value in values]
        return texts


class Declaration(msgspec.Struct, frozen=True):
    """What was said of an event class: type name, schema version, tag templates, and a `tags()` method if it has one."""

    type: str
    version: int
    templates: tuple[TagTemplate, ...]
    computed: bool

    @property
    def has_tags(self) -> bool:
        """Whether events of this class can have tags of their own at all."""
        return self.computed or bool(self.templates)

    def tags(self, event: Any) -> list[str]:
        """Return the tags of `event`, checked. Raises InvalidName where a filled tag breaks the rules."""
        if len(self.templates) == 1 and not self.computed:
            found = self.templates[0].fill(event)
        else:
            found = [tag for template in self.templates for tag in template.fill(event)]
            if self.computed:
                found.extend(event.tags())
        if len(found) == 1:
            return found if found[0] in _KNOWN_TAGS else [_known_tag(found[0])]
        return [tag if tag in _KNOWN_TAGS else _known_tag(tag) for tag in found]


def declare(cls: T, type: str | None, version: int, tags: Iterable[str], *, register: bool) -> T:
    """Attach a checked Declaration to `cls`; raise InvalidEventClass or DuplicateEventType."""
    try:
        name = checked_name("event type", cls.__name__ if type is None else type)
        if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= MAX_SCHEMA_VERSION:
            raise ValueError(f"schema version {version!r} is not a whole number from 1 to {MAX_SCHEMA_VERSION}")
        if isinstance(tags, str):
            raise ValueError(f"tags={tags!r} is one text; write a tuple: tags=({tags!r},)")
        fields = field_names(cls)
        templates = tuple(TagTemplate.parse(tag, fields) for tag in tags)
    except (InvalidName, ValueError) as error:
        raise InvalidEventClass(f"{cls.__module__}.{cls.__qualname__}: {error}") from error
    computed = "tags" not in fields and callable(getattr(cls, "tags", None))
    if register:
        _enter(name, cls)
    setattr(cls, _ATTRIBUTE, Declaration(name, version, templates, computed))
    return cls


def declaration_of(cls: type) -> Declaration | None:
    """Return what was declared of `cls` itself (not of a base class), or None."""
    found = cls.__dict__.get(_ATTRIBUTE)
    return found if isinstance(found, Declaration) else None


def type_name_of(kind: str | type) -> str:
    """Return the type name meant by a name or an event class. Raises InvalidName for other classes."""
    if isinstance(kind, type):
        declared = declaration_of(kind)
        if declared is None:
            raise InvalidName("event type", kind, "is a class that was not declared as an event")
        return declared.type
    return checked_name("event type", kind)


class EventMeta(msgspec.StructMeta):
    """Takes `type=`, `version=`, `tags=` and `register=` from the class line; all else goes to msgspec."""

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        type: str | None = None,
        version: int = 1,
        tags: Iterable[str] = (),
        register: bool = True,
        **options: Any,
    ) -> Any:
        """Make the struct, frozen, and declare it."""
        if options.setdefault("frozen", True) is not True:
            raise InvalidEventClass(f"{name}: an event is immutable; leave out frozen=False")
        cls = super().__new__(mcls, name, bases, namespace, **options)
        if namespace.get("__module__") == __name__ and name == "Event":
            return cls
        return declare(cls, type, version, tags, register=register)

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **_: Any) -> None:  # noqa: N805 - a metaclass
        super().__init__(name, bases, namespace)


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Event(msgspec.Struct, frozen=True, metaclass=EventMeta):
    """An immutable fact: a frozen, typed struct.

    On the class line stand `type="..."` (the stored name; the class name if left out), `version=1` (of the
    schema), `tags=("key:{field}",)` (templates that name fields) and `register=False` (keep it out of the
    default registry). A `tags()` method may compute more tags. Fields may be any type that JSON can carry:
    text, numbers, dates, decimals, UUIDs, enums, sets, nested structs and dataclasses.

    Raises InvalidEventClass or DuplicateEventType when the class is made.
    """

    if TYPE_CHECKING:

        def __init_subclass__(
            cls,
            *,
            type: str | None = None,
            version: int = 1,
            tags: Iterable[str] = (),
            register: bool = True,
            kw_only: bool = False,
            omit_defaults: bool = False,
            rename: str | Mapping[str, str] | Callable[[str], str | None] | None = None,
        ) -> None: ...


def event(
    *, type: str | None = None, version: int = 1, tags: Iterable[str] = (), register: bool = True
) -> Callable[[T], T]:
    """Declare a dataclass, attrs class or pydantic model as an event; same arguments as the class line of Event.

    Raises InvalidEventClass or DuplicateEventType when the class is made.
    """

    def decorate(cls: T) -> T:
        if not isinstance(cls, _CLASS):
            raise InvalidEventClass(f"{cls!r} is not a class")
        if not _is_supported(cls):
            raise InvalidEventClass(
                f"{cls.__module__}.{cls.__qualname__} is no dataclass, attrs class, pydantic model or msgspec "
                "struct; apply @sacho.event() above the decorator that makes it one"
            )
        return declare(cls, type, version, tags, register=register)

    return decorate


def field_names(cls: type) -> tuple[str, ...]:
    """Return the names of the fields of a struct, dataclass, attrs class or pydantic model, in order."""
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    if attributes := getattr(cls, "__attrs_attrs__", None):
        return tuple(attribute.name for attribute in attributes)
    return tuple(getattr(cls, "model_fields", ()))


def is_pydantic(cls: type) -> bool:
    """Tell whether `cls` is a pydantic model, without importing pydantic."""
    return hasattr(cls, "__pydantic_validator__") and hasattr(cls, "model_dump")


_CLASS = type


def _is_supported(cls: type) -> bool:
    return (
        issubclass(cls, msgspec.Struct)
        or dataclasses.is_dataclass(cls)
        or hasattr(cls, "__attrs_attrs__")
        or is_pydantic(cls)
    )


def _enter(name: str, cls: type) -> None:
    """Put `cls` into the default registry, unless another class has the name.

    A module that is loaded again (a notebook cell, importlib.reload) may bring the same class anew.
    """
    there = DEFAULT_TYPES.get(name)
    if there is not None and not _is_the_same_again(there, cls):
        raise DuplicateEventType(name, there, cls)
    DEFAULT_TYPES[name] = cls


def _is_the_same_again(there: type, cls: type) -> bool:
    if there.__module__ != cls.__module__ or there.__qualname__ != cls.__qualname__:
        return False
    return "<locals>" not in cls.__qualname__


def _known_tag(tag: str) -> str:
    """Return `tag`, checked; remember it, since the same tags come again and again."""
    checked_tag(tag)
    if len(_KNOWN_TAGS) >= _MOST_KNOWN_TAGS:
        _KNOWN_TAGS.clear()
    _KNOWN_TAGS.add(tag)
    return tag


def _tag_values(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str | bytes | Enum | Mapping) or not isinstance(value, Iterable):
        return [_tag_text(value)]
    members = sorted(value, key=str) if isinstance(value, set | frozenset) else value
    return [text for member in members for text in _tag_values(member)]


def _tag_text(value: object) -> str:
    match value:
        case Enum():
            return _tag_text(value.value)
        case bool():
            return "true" if value else "false"
        case date():
            return value.isoformat()
        case bytes() | Mapping() | types.FunctionType():
            raise InvalidName("tag value", value, "cannot stand in a tag; use text, a number, a date or an id")
        case _:
            return str(value)

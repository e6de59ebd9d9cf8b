"""Public events: what leaves, declared apart from the domain's own events, so that these may change and it does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, dataclass_transform

import msgspec

from sacho.errors import InvalidPublicEvent
from sacho.events.declaring import MAX_SCHEMA_VERSION

_TYPE: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_VERSIONED: Final = re.compile(r"\.v[0-9]+$")
MOST_CHARACTERS: Final = 200


class PublicEventMeta(msgspec.StructMeta):
    """Takes `type=` and `version=` from the class line; all else goes to msgspec."""

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        type: str | None = None,
        version: int = 1,
        **options: Any,
    ) -> Any:
        """Make the struct, frozen, and check what is declared."""
        if options.setdefault("frozen", True) is not True:
            raise InvalidPublicEvent(name, "a public event is immutable; leave out frozen=False")
        cls: Any = super().__new__(mcls, name, bases, namespace, **options)
        if namespace.get("__module__") != __name__:
            cls.public_type = _checked_type(name, type)
            cls.public_version = _checked_version(name, version)
            cls.message_type = cls.public_type if version == 1 else f"{cls.public_type}.v{version}"
        return cls

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **_: Any) -> None:  # noqa: N805 - a metaclass
        super().__init__(name, bases, namespace)


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class PublicEvent(msgspec.Struct, frozen=True, metaclass=PublicEventMeta):
    """What others are told: `class OrderConfirmed(PublicEvent, type="conference.order-confirmed", version=1)`.

    A frozen, typed struct, written as JSON by the rules of events: NaN is refused, decimals are text, dates ISO 8601.
    `type` is a name of letters, digits, `-` and `_` in parts between dots. `version` is that of its shape.

    The CloudEvents type is the name; from version 2 on with the version behind it: `conference.order-confirmed.v2`. The
    specification leaves it to the producer, and shows it so: brokers and receivers choose by type, and a receiver of the
    first version must not be handed the second. `dataschema` would say it where nobody looks, and wants a document at a URI.

    Raises InvalidPublicEvent when the class is made.
    """

    public_type: ClassVar[str] = ""
    """The name that was declared."""
    public_version: ClassVar[int] = 1
    """The version that was declared."""
    message_type: ClassVar[str] = ""
    """Both, as the type of a CloudEvent."""

    if TYPE_CHECKING:

        def __init_subclass__(
            cls,
            *,
            type: str,
            version: int = 1,
            kw_only: bool = False,
            omit_defaults: bool = False,
            rename: str | Mapping[str, str] | Callable[[str], str | None] | None = None,
        ) -> None: ...


def _checked_type(name: str, type: object) -> str:
    if type is None:
        raise InvalidPublicEvent(
            name, 'a public event is named: class X(PublicEvent, type="conference.order-confirmed")'
        )
    if not isinstance(type, str) or not _TYPE.fullmatch(type) or len(type) > MOST_CHARACTERS:
        raise InvalidPublicEvent(
            name,
            f"type {type!r} is out of rules: letters, digits, - and _ in parts between dots, {MOST_CHARACTERS} at most",
        )
    if _VERSIONED.search(type):
        raise InvalidPublicEvent(name, f"type {type!r} names a version; declare it apart: version=2")
    return type


def _checked_version(name: str, version: object) -> int:
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= MAX_SCHEMA_VERSION:
        raise InvalidPublicEvent(name, f"version {version!r} is not a whole number from 1 to {MAX_SCHEMA_VERSION}")
    return version

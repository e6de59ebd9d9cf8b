"""Whether the fields of a command are what its class declares: types, and the constraints of msgspec's `Meta`.

Python does not check them when an object is made. What cannot be checked (fields of classes that msgspec does not know,
pydantic models, which check themselves) is let pass.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, get_args, get_type_hints
from uuid import UUID
from weakref import WeakKeyDictionary

import msgspec

from sacho.errors import InvalidCommand
from sacho.events.declaring import field_names, is_pydantic

Check = Callable[[Any], None]

AS_THEY_ARE: Final = (bytes, bytearray, datetime, date, time, timedelta, UUID, Decimal)
"""Types that are not turned into text on the way, so that a text in their place is found."""

_known: WeakKeyDictionary[type, Check] = WeakKeyDictionary()
"""The checks that were made, for all buses of this process: making one takes long."""
_to_builtins = msgspec.to_builtins
_WHERE = re.compile(r"(?P<reason>.*) - at (?P<key>`key` in )?`(?P<path>\$[^`]*)`", re.DOTALL)


class Checks:
    """The checks of command classes, made when first used. Thread-safe: what it remembers is only ever added to."""

    def __init__(self) -> None:
        self._checks: dict[type, Check] = {}

    def __call__(self, command: Any) -> None:
        """Raise InvalidCommand, or what the command's own `check` raises, unless the command is valid."""
        cls = command.__class__
        check = self._checks.get(cls)
        if check is None:
            check = self._checks[cls] = _known.get(cls) or _known.setdefault(cls, check_of(cls))
        check(command)


def check_of(cls: type) -> Check:
    """Return what checks a command of this class: its fields, then its own `check`, if it has one."""
    hints = {name: hint for name, hint in _hints(cls).items() if _is_known(hint)}
    by_fields = _check_of_fields(hints) if hints else None
    if not _has_own_check(cls):
        return by_fields or _pass
    return _check_own if by_fields is None else _both(by_fields)


def _check_of_fields(hints: Mapping[str, Any]) -> Check:
    names = tuple(hints)
    shape = msgspec.defstruct("Shape", list(hints.items()))
    get = attrgetter(*names)
    one = names[0] if len(names) == 1 else None
    convert = msgspec.convert

    def check(command: Any) -> None:
        try:
            values = {one: get(command)} if one is not None else dict(zip(names, get(command), strict=True))
            plain = _to_builtins(values, builtin_types=AS_THEY_ARE, str_keys=False)
            convert(plain, shape, builtin_types=AS_THEY_ARE)
        except msgspec.ValidationError as error:
            raise _invalid(command, error) from None
        except (TypeError, AttributeError, OverflowError, RecursionError):
            _check_one_by_one(command, hints)

    return check


def _check_one_by_one(command: Any, hints: Mapping[str, Any]) -> None:
    """Find the field that is no value of JSON at all, if its type says that it should be."""
    for name, hint in hints.items():
        value = getattr(command, name, msgspec.UNSET)
        if value is msgspec.UNSET and msgspec.UnsetType in get_args(hint):
            continue
        try:
            plain = _to_builtins(value, builtin_types=AS_THEY_ARE, str_keys=False)
            msgspec.convert(plain, hint, builtin_types=AS_THEY_ARE)
        except msgspec.ValidationError as error:
            raise _invalid(command, error, f"$.{name}") from None
        except (TypeError, OverflowError, RecursionError):
            if not _is_open(hint):
                reason = f"a value of type {type(value).__name__} does not belong there"
                raise InvalidCommand(command, f"$.{name}", reason) from None


def _invalid(command: Any, error: msgspec.ValidationError, root: str = "$") -> InvalidCommand:
    """Return msgspec's complaint with the field's path apart."""
    found = _WHERE.fullmatch(str(error))
    if found is None:
        return InvalidCommand(command, root, str(error))
    reason = f"a key: {found['reason']}" if found["key"] else found["reason"]
    return InvalidCommand(command, root + found["path"][1:], reason)


def invalid_form(name: str, error: Exception) -> InvalidCommand:
    """Return what is wrong with a stored form that does not fit its class."""
    if isinstance(error, msgspec.ValidationError):
        return _invalid(name, error)
    return InvalidCommand(name, "$", str(error))


def _check_own(command: Any) -> None:
    """Let the command check itself; a ValueError or TypeError of its own says that it is not valid."""
    try:
        command.check()
    except InvalidCommand:
        raise
    except (ValueError, TypeError) as error:
        raise InvalidCommand(command, "$", str(error)) from error


def _both(by_fields: Check) -> Check:
    def check(command: Any) -> None:
        by_fields(command)
        _check_own(command)

    return check


def _pass(command: Any) -> None:
    """Nothing is known of the fields."""


def _has_own_check(cls: type) -> bool:
    own = getattr(cls, "check", None)
    if not inspect.isfunction(own) or "check" in field_names(cls):
        return False
    return len(inspect.signature(own).parameters) == 1


def _hints(cls: type) -> dict[str, Any]:
    """Return the declared types of a command's fields, as far as they can be found."""
    if is_pydantic(cls):
        return {}
    names = field_names(cls) or getattr(cls, "_fields", ())
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception:  # a name of a function's own, or a class that is not there at run time
        return {}
    return {name: hints[name] for name in names if name in hints}


def _is_known(hint: Any) -> bool:
    """Tell whether msgspec knows all of a type."""
    try:
        return all(not isinstance(part, msgspec.inspect.CustomType) for part in _parts(hint))
    except Exception:  # a type that msgspec cannot stand, or a name in it that cannot be found
        return False


def _is_open(hint: Any) -> bool:
    """Tell whether a type leaves anything open."""
    return any(isinstance(part, msgspec.inspect.AnyType) for part in _parts(hint))


def _parts(hint: Any) -> Iterator[msgspec.inspect.Type]:
    """Yield the types that a type is made of, each once."""
    waiting: list[Any] = [msgspec.inspect.type_info(hint)]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, tuple | list):
            waiting.extend(one)
        elif isinstance(one, msgspec.inspect.Field):
            waiting.append(one.type)
        elif isinstance(one, msgspec.inspect.Type) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting.extend(getattr(one, name) for name in one.__struct_fields__ if name not in {"cls", "default"})

"""Values that the encoder cannot put in one order by itself, taken apart into plain JSON values that it can.

It sorts sets and dictionaries by their members, so it needs members that compare. Here they are sorted by their JSON.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import msgspec

from sacho.events.declaring import field_names

_to_json = msgspec.json.Encoder(order="deterministic").encode


def plain(value: Any) -> Any:
    """Return `value` with sets as lists in order of their members' JSON, and dictionaries with text for keys."""
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value), key=_to_json)
    if isinstance(value, dict):
        check_finite(list(value))
        return {_key(key): plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return [plain(member) for member in value]
    if isinstance(value, msgspec.Struct):
        return _struct(value)
    cls = type(value)
    if dataclasses.is_dataclass(cls) or hasattr(cls, "__attrs_attrs__"):
        return _set({name: plain(getattr(value, name)) for name in field_names(cls)})
    return value


def pydantic_values(event: Any) -> Any:
    """Return the JSON values of a pydantic model, by its own rules, with its sets in order."""
    values = event.model_dump(by_alias=True, round_trip=True)
    check_finite(values)
    return _in_order(event.model_dump(mode="json", by_alias=True, round_trip=True), values)


def check_finite(value: Any) -> None:
    """Raise ValueError if a number in `value`, however deep, is no JSON number."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no JSON number")
    elif isinstance(value, dict):
        for key, member in value.items():
            check_finite(key)
            check_finite(member)
    elif isinstance(value, list | tuple | set | frozenset):
        for member in value:
            check_finite(member)


def _struct(value: msgspec.Struct) -> Any:
    config = value.__struct_config__
    members = [plain(getattr(value, name)) for name in value.__struct_fields__]
    tag = [config.tag] if config.tag is not None else []
    if config.array_like:
        return [*tag, *members]
    named = _set(dict(zip(value.__struct_encode_fields__, members, strict=True)))
    return {config.tag_field: config.tag, **named} if config.tag is not None else named


def _set(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that have a value: those that are UNSET are left out, as the encoder does."""
    return {name: member for name, member in fields.items() if member is not msgspec.UNSET}


def _key(key: Any) -> str:
    """Return a dictionary's key as the text that stands for it in JSON."""
    (text,) = msgspec.json.decode(msgspec.json.encode({key: None}))
    return str(text)


def _in_order(written: Any, value: Any) -> Any:
    """Sort those lists of `written` that stand for sets of `value`; where the shapes differ, leave them be."""
    if isinstance(value, set | frozenset) and isinstance(written, list):
        return sorted(written, key=_to_json)
    if isinstance(value, dict) and isinstance(written, dict) and len(value) == len(written):
        members = zip(written.items(), value.values(), strict=True)
        return {key: _in_order(member, other) for (key, member), other in members}
    if isinstance(value, list | tuple) and isinstance(written, list) and len(value) == len(written):
        return [_in_order(member, other) for member, other in zip(written, value, strict=True)]
    return written

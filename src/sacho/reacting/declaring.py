"""Declaring: which events a consumer handles, by which of its methods; and the fingerprint of what it is."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeVar, get_args

from sacho.errors import InvalidConsumer, InvalidName
from sacho.events import type_name_of
from sacho.events.declaring import field_names

F = TypeVar("F", bound=Callable[..., Any])

EVERY: Final = "*"
"""`@handles("*")` marks the method for events of types that no other method handles."""

SETTINGS: Final = frozenset({"version", "partitions", "independent_keys", "retry", "most_parked", "takes_over"})
"""What a class says of how it is run, which makes no difference to what comes of it."""
_NOT_CODE: Final = {"sacho", "typing"}
_ATTRIBUTE: Final = "__sacho_handles__"
_NAME: Final = re.compile("[a-z][a-z0-9_-]{0,39}")
_WORDS: Final = re.compile("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Handled(NamedTuple):
    """What `@handles` says of a method: the types of events, and how their key is found (a field's name, or a function)."""

    types: tuple[str, ...]
    key: str | Callable[[Any], Any] | None


class Handler(NamedTuple):
    """The method that handles a type of event, by name, and the key that was declared."""

    method: str
    key: str | Callable[[Any], Any] | None


def handles(*types: type | str, key: str | Callable[[Any], Any] | None = None) -> Callable[[F], F]:
    """Mark a method as the handler of these types of events: classes, or names; `"*"` for all that have no other.

    `key` is for document views: the field of the event, or a function of it, that names the document.
    """
    return marking("@handles", "SeatsReserved", types, key)


def marking(
    mark: str, example: str, types: Iterable[type | str], key: str | Callable[[Any], Any] | None
) -> Callable[[F], F]:
    """Return what marks a method as the handler of types; `mark` and `example` say in errors how it is written."""

    def of(method: F) -> F:
        if not types:
            raise InvalidConsumer(method.__qualname__, f"{mark} names no event; write {mark}({example})")
        try:
            names = tuple(EVERY if type == EVERY else type_name_of(type) for type in types)
        except InvalidName as error:
            raise InvalidConsumer(method.__qualname__, f"{mark}: {error}") from error
        check_key(types, key)
        setattr(method, _ATTRIBUTE, Handled(names, key))
        return method

    return of


def check_key(types: Iterable[type | str], key: object) -> None:
    """Raise InvalidConsumer for a field as key that a class of events does not have: nobody could tell whose they are."""
    for one in types:
        if isinstance(one, type) and isinstance(key, str) and not (key in field_names(one) or hasattr(one, key)):
            raise InvalidConsumer(one.__qualname__, f"has no field {key!r}, which is named as its key")


def handlers_of(cls: type) -> dict[str, Handler]:
    """Return the handlers of a class and its bases by type of event. Raises InvalidConsumer where two handle one type."""
    found: dict[str, Handler] = {}
    for base in reversed(cls.__mro__):
        own: dict[str, str] = {}
        for name, member in vars(base).items():
            handled: Handled | None = getattr(member, _ATTRIBUTE, None)
            for type in handled.types if handled else ():
                if type in own:
                    raise InvalidConsumer(cls.__qualname__, f"both {own[type]} and {name} handle {type!r}")
                own[type] = name
                found[type] = Handler(name, handled.key if handled else None)
    return found


def class_parameter(cls: type) -> Any:
    """Return what a generic class was declared with, `Order` of `DocumentView[Order]`, or None."""
    for base in getattr(cls, "__orig_bases__", ()):
        arguments = get_args(base)
        if arguments and not isinstance(arguments[0], TypeVar):
            return arguments[0]
    return None


def default_name(cls: type) -> str:
    """Return the name of a class in the form of names: `SeatsView` is `seats-view`."""
    return "-".join(_WORDS.split(cls.__name__.strip("_"))).lower()


def checked_name(cls: type, name: object) -> str:
    """Return the name of a consumer, or raise InvalidConsumer."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidConsumer(
            cls.__qualname__, f"name = {name!r} is out of rules: 1 to 40 of a-z, 0-9, - and _, the first a letter"
        )
    return name


def code_of(cls: type, *functions: Callable[..., Any]) -> str | None:
    """Return the code of a class, of its bases that are not Sacho's, and of functions that it uses.

    Comments, docstrings, layout and settings are no part of it. The same code gives the same text on every version of
    Python. None where a part has no source, as in some shells.
    """
    texts = []
    bases = [one for one in cls.__mro__ if one is not object and one.__module__.partition(".")[0] not in _NOT_CODE]
    parts: list[Any] = [*bases, *functions]
    for one in parts:
        try:
            module = ast.parse(textwrap.dedent(inspect.getsource(one)))
        except (OSError, TypeError, SyntaxError):
            return None
        for part in module.body:
            if isinstance(part, ast.ClassDef):
                part.body = [one for one in part.body if not _names_of(one) & SETTINGS]
        texts.append("".join(_canonical(module)))
    return "\x00".join(texts)


def fingerprint(shape: Iterable[object], code: str | None) -> str:
    """Return short digests of a shape, by the texts of its parts in order, and of the code, if it is known: `shape.code`."""
    return f"{_digest(chr(0).join(map(str, shape)))}.{'' if code is None else _digest(code)}"


def is_same(one: str, other: str) -> bool:
    """Tell whether two fingerprints are of the same thing, as far as both know."""
    (shape, _, code), (other_shape, _, other_code) = one.partition("."), other.partition(".")
    return shape == other_shape and (code == other_code or not (code and other_code))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]


def _names_of(part: ast.stmt) -> set[str]:
    """Return the names that a statement of a class gives values to."""
    targets = part.targets if isinstance(part, ast.Assign) else [part.target] if isinstance(part, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _canonical(node: object) -> Iterator[str]:
    """Yield a text for a syntax tree in which only what it means counts."""
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            if value in (None, []) or name in {"ctx", "kind", "type_comment", "type_ignores"}:
                continue  # what versions of Python differ in
            yield f" {name}="
            yield from _canonical(_without_docstring(node, value) if name == "body" else value)
        yield ")"
    elif isinstance(node, list):
        for one in node:
            yield from _canonical(one)
    else:
        yield repr(node)


def _without_docstring(node: ast.AST, body: Any) -> Any:
    is_documented = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node)
    return body[1:] if is_documented else body

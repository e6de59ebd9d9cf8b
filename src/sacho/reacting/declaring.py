"""Declaring: which events a consumer handles, by which of its methods; and the fingerprint of what it is."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeVar

from sacho.errors import InvalidConsumer, InvalidName
from sacho.events import type_name_of

F = TypeVar("F", bound=Callable[..., Any])

EVERY: Final = "*"
"""`@handles("*")` marks the method for events of types that no other method handles."""

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

    def mark(method: F) -> F:
        if not types:
            raise InvalidConsumer(method.__qualname__, "@handles names no event; write @handles(SeatsReserved)")
        try:
            names = tuple(EVERY if type == EVERY else type_name_of(type) for type in types)
        except InvalidName as error:
            raise InvalidConsumer(method.__qualname__, f"@handles: {error}") from error
        setattr(method, _ATTRIBUTE, Handled(names, key))
        return method

    return mark


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


def code_of(cls: type) -> Iterator[str]:
    """Yield the code of a class and of its bases that are not Sacho's, without comments, docstrings and layout.

    The same code gives the same text on every version of Python. Nothing where there is no source, as in some shells.
    """
    for base in cls.__mro__:
        if base is object or base.__module__.partition(".")[0] in {"sacho", "typing"}:
            continue
        try:
            source = textwrap.dedent(inspect.getsource(base))
            yield "".join(_canonical(ast.parse(source)))
        except (OSError, TypeError, SyntaxError):
            yield base.__qualname__


def fingerprint(parts: Iterable[object]) -> str:
    """Return a short digest of parts, by their texts, in order."""
    return sha256("\x00".join(map(str, parts)).encode()).hexdigest()[:32]


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

"""Inline views: those that a store has attached, and those that its log registers, which are written with each append.

What a log registers is one text: the names in order, one a line. Each append compares the text that it knows with the
log's, in its own transaction, so no process can leave a view out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from sacho.errors import InlineViewFailed, InlineViewMissing, InvalidAppend
from sacho.events.naming import checked_name
from sacho.storage.port import InlineView, Row

NO_VIEWS: Final = ""
"""What a log without inline views registers."""

Own: TypeAlias = Callable[[Exception], Exception | None]
"""Returns the engine's own failure behind what a view raised, such as a full disk; None where it is the view's."""


class InlineViews:
    """The views attached to one engine. Thread-safe: what is attached stays, and is replaced as a whole."""

    def __init__(self) -> None:
        self._attached: dict[str, InlineView] = {}

    def attach(self, views: Iterable[InlineView]) -> None:
        """Have more views written as soon as the log registers them. Raises InvalidName."""
        more = {view.name: view for view in views}
        text_of(more)
        self._attached = {**self._attached, **more}

    def missing(self, text: str) -> list[str]:
        """Return the names that a log registers and nothing is attached for."""
        attached = self._attached
        return [name for name in names_in(text) if name not in attached]

    def concerned(self, text: str, types: set[str]) -> list[InlineView]:
        """Return the views that a log registers and events of these types concern. Raises InlineViewMissing."""
        if not text:
            return []
        attached = self._attached
        try:
            views = [attached[name] for name in names_in(text)]
        except KeyError:
            raise InlineViewMissing(self.missing(text)) from None
        return [view for view in views if not view.types or not view.types.isdisjoint(types)]


def names_in(text: str) -> tuple[str, ...]:
    """Return the names that a log registers."""
    return tuple(text.split("\n")) if text else ()


def text_of(names: Iterable[str]) -> str:
    """Return names as a log registers them. Raises InvalidName for one that is empty, too long or not printable."""
    return "\n".join(sorted({checked_name("inline view", name) for name in names}))


def refuse_import(text: str) -> None:
    """Raise InvalidAppend where a log registers views, which imported events would not be written to."""
    if text:
        raise InvalidAppend(
            f"this log keeps inline views ({', '.join(names_in(text))}), which an import does not write: import into "
            "a log without them, or have the application that declares them take them out first"
        )


def write_views(views: Sequence[InlineView], rows: Sequence[Row], connection: Any, own: Own) -> None:
    """Have each view take the events that concern it. Raises InlineViewFailed, or what `own` returns."""
    for view in views:
        types = view.types
        some = [row for row in rows if row[3] in types] if types else rows
        if not some:
            continue
        try:
            view.take(some, connection)
        except Exception as error:
            failure = own(error)
            if failure is error:
                raise
            raise failure or failed(view.name, error) from error


def failed(name: str, error: Exception) -> InlineViewFailed:
    """Return the refusal of an append whose view has raised."""
    return InlineViewFailed(name, f"{type(error).__name__}: {error}")

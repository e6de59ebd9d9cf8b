"""Mishaps: a log that workers die at, that gives no answer, and that another worker writes to at the wrong moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from sacho.errors import SachoError, StorageUnreachable
from sacho.events import Appended, Write

if TYPE_CHECKING:
    from sacho.storage.port import Outcome, Storage

Mishap: TypeAlias = Literal["crash", "unreachable"]
When: TypeAlias = Literal["before", "amid", "after"]


class Crash(BaseException):
    """A worker dies here. No code of the application may hold it up: nobody catches it but the simulation."""


class MishapStorage:
    """The engine of a simulation. `mishap` says before each write what is to go wrong with it, and when."""

    def __init__(self, inner: Storage, mishap: Callable[[], tuple[Mishap, When] | None]) -> None:
        self._inner = inner
        self._mishap = mishap
        for name in ("read", "read_all", "find", "head", "bounds"):  # what is called most
            setattr(self, name, getattr(inner, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, write: Write) -> list[Appended]:
        """Append atomically."""
        (outcome,) = self.write_many((write,))
        if isinstance(outcome, SachoError):
            raise outcome
        return outcome

    def write_many(self, writes: Sequence[Write]) -> list[Outcome]:
        """Append each on its own, if nothing goes wrong. Raises Crash or StorageUnreachable where it does."""
        found = self._mishap()
        if found is None:
            return self._inner.write_many(writes)
        mishap, when = found
        if when != "before":
            self._inner.write_many(writes[: len(writes) // 2] if when == "amid" else writes)
        if mishap == "crash":
            raise Crash
        raise StorageUnreachable("the simulated log", "no answer", may_have_happened=True)


def with_mishaps(inner: Storage, mishap: Callable[[], tuple[Mishap, When] | None]) -> Storage:
    """Return an engine over another one; what it does not do itself, the other does."""
    return cast("Storage", MishapStorage(inner, mishap))

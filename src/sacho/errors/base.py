"""The base of all errors."""

from __future__ import annotations


class SachoError(Exception):
    """Base of every error that Sacho raises on purpose. Survives a trip between processes, facts included.

    One that `is_final` says that trying again cannot help: a consumer does not, but parks the event at once.
    """

    is_final = False

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(cls: type[SachoError], args: tuple[object, ...], facts: dict[str, object]) -> SachoError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(facts)
    return error

"""What a benchmark is: sides that are measured in turn, and comparisons between their figures."""

from __future__ import annotations

import msgspec


class Side(msgspec.Struct, frozen=True):
    """One way to do the work. `run` is `module:function` below this package, called with a Job in a fresh process."""

    name: str
    run: str


class Comparison(msgspec.Struct, frozen=True):
    """One row of the table: a side's figure over a peer's, or alone where `peer` is None, and what is asked of it.

    `at_least` or `at_most` bounds the ratio (the figure itself without a peer); with neither, it is only shown.
    """

    row: str
    ours: str
    peer: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def reached(self, value: float) -> bool | None:
        """Tell whether `value` keeps the bound; None if there is none."""
        if self.at_least is not None:
            return value >= self.at_least
        if self.at_most is not None:
            return value <= self.at_most
        return None

    @property
    def bound(self) -> str:
        """The bound in words of a table."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"


class Benchmark(msgspec.Struct, frozen=True):
    """Sides with one unit, what must be built before they can run, and the rows that come of their figures.

    With `on_postgres` each measurement is handed a database of the run's PostgreSQL, where sides keep what they record.
    """

    name: str
    unit: str
    sides: tuple[Side, ...]
    comparisons: tuple[Comparison, ...]
    prepare: tuple[Side, ...] = ()
    on_postgres: bool = False

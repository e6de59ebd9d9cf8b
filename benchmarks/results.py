"""The figures of a run: by side and round as read, and the rows made of them. What `--json` writes."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import msgspec

from benchmarks.benchmark import Benchmark, Comparison
from benchmarks.machine import Machine


class Row(msgspec.Struct, frozen=True):
    """One row of the table. Ratios are taken within a round; `ratio`, `lowest` and `highest` are over the rounds."""

    benchmark: str
    row: str
    unit: str
    ours: float
    peer: float | None
    peer_name: str | None
    ratio: float
    lowest: float
    highest: float
    bound: str
    reached: bool | None


class Measured(msgspec.Struct, frozen=True):
    """One benchmark's figures: for each side one a round, in the order of rounds; or the error that ended it."""

    name: str
    unit: str
    figures: dict[str, list[float]]
    error: str | None = None


class Run(msgspec.Struct, frozen=True):
    """All of one run. `server` is the PostgreSQL that was used, if any was."""

    machine: Machine
    rounds: int
    quick: bool
    started_at: str
    seconds: float
    server: str
    prepared: dict[str, float]
    measured: list[Measured]
    rows: list[Row]

    @property
    def failed(self) -> list[Measured]:
        """The benchmarks that could not be measured."""
        return [one for one in self.measured if one.error is not None]

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def rows_of(benchmark: Benchmark, measured: Measured) -> list[Row]:
    """Return the rows of a benchmark that was measured."""
    return [] if measured.error else [_row(benchmark, one, measured.figures) for one in benchmark.comparisons]


def _row(benchmark: Benchmark, comparison: Comparison, figures: dict[str, list[float]]) -> Row:
    ours = figures[comparison.ours]
    peer = figures[comparison.peer] if comparison.peer else None
    ratios = [mine / other for mine, other in zip(ours, peer, strict=True)] if peer else ours
    ratio = median(ratios)
    return Row(
        benchmark.name,
        comparison.row,
        benchmark.unit,
        median(ours),
        median(peer) if peer else None,
        comparison.peer,
        ratio,
        min(ratios),
        max(ratios),
        comparison.bound,
        comparison.reached(ratio),
    )

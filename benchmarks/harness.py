"""Rounds: in each one every side has its turn, in an order that rotates, in a fresh process with fresh files."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.benchmark import Benchmark, Side
from benchmarks.job import Job
from benchmarks.machine import describe
from benchmarks.postgres import server_of_run, version_of
from benchmarks.processes import running
from benchmarks.results import Measured, Row, Run, rows_of
from servers.postgres import fresh_database

LONGEST_SECONDS: Final = 900.0
WARM_UP_ROUND: Final = 0

Told = Callable[[str], None]
"""Is told what is measured next."""


class MeasurementFailed(Exception):
    """A side raised, or took too long: what it printed says why."""


class Harness:
    """Measures benchmarks, one after the other, below one folder."""

    def __init__(self, directory: Path, rounds: int, *, quick: bool, tell: Told, held: ExitStack) -> None:
        """Take what a run is told; `held` ends what is started for several benchmarks."""
        self._directory = directory
        self._rounds = rounds
        self._quick = quick
        self._tell = tell
        self._held = held
        self._server_url = ""
        self._prepared_database = ""
        self.prepared: dict[str, float] = {}
        self.server = ""

    def measure(self, benchmark: Benchmark) -> Measured:
        """Return the figures of all rounds but the first, which warms up; or the error that ended the benchmark."""
        figures: dict[str, list[float]] = {side.name: [] for side in benchmark.sides}
        try:
            if benchmark.on_postgres:
                self._start_server()
            for side in benchmark.prepare:
                self._prepare(benchmark, side)
            for round_ in range(self._rounds + 1):
                for side in turns(benchmark.sides, round_):
                    figure = self._one(benchmark, side, round_)
                    if round_ != WARM_UP_ROUND:
                        figures[side.name].append(figure)
        except MeasurementFailed as error:
            return Measured(benchmark.name, benchmark.unit, {}, str(error))
        return Measured(benchmark.name, benchmark.unit, figures)

    def _start_server(self) -> None:
        """Have PostgreSQL run, from the first benchmark that needs it to the end of the run."""
        if self._prepared_database:
            return
        self._tell("starting PostgreSQL")
        try:
            self._server_url = self._held.enter_context(server_of_run(self._directory))
            self.server = version_of(self._server_url)
            self._prepared_database = self._held.enter_context(fresh_database(self._server_url))
        except Exception as error:
            raise MeasurementFailed(f"PostgreSQL could not be used: {error}") from error

    def _prepare(self, benchmark: Benchmark, side: Side) -> None:
        """Build what the rounds share, once in a run."""
        if side.name not in self.prepared:
            self._tell(f"building {side.name}")
            self.prepared[side.name] = self._run(benchmark, side, round_=0, quick=self._quick)

    def _one(self, benchmark: Benchmark, side: Side, round_: int) -> float:
        what = "warm-up" if round_ == WARM_UP_ROUND else f"round {round_}/{self._rounds}"
        self._tell(f"{benchmark.name} · {what} · {side.name}")
        return self._run(benchmark, side, round_, quick=self._quick or round_ == WARM_UP_ROUND)

    def _run(self, benchmark: Benchmark, side: Side, round_: int, *, quick: bool) -> float:
        with ExitStack() as stack:
            own = stack.enter_context(tempfile.TemporaryDirectory(dir=self._directory, prefix="side-"))
            job = Job(Path(own), self._directory / "prepared", round_, quick)
            if benchmark.on_postgres:
                fresh = stack.enter_context(fresh_database(self._server_url))
                job = msgspec.structs.replace(job, database=fresh, prepared_database=self._prepared_database)
            return _figure(side, job.encode())


def turns(sides: Sequence[Side], round_: int) -> Sequence[Side]:
    """Return the sides in the order of a round: the first one of the last round is now the last."""
    first = round_ % len(sides)
    return [*sides[first:], *sides[:first]]


def steps(benchmarks: Sequence[Benchmark], rounds: int) -> int:
    """Return how often a harness tells what is next, for a progress bar."""
    built = {side.name for benchmark in benchmarks for side in benchmark.prepare}
    servers = any(benchmark.on_postgres for benchmark in benchmarks)
    return servers + len(built) + sum(len(benchmark.sides) * (rounds + 1) for benchmark in benchmarks)


def run(benchmarks: Sequence[Benchmark], rounds: int, *, quick: bool, directory: Path | None, tell: Told) -> Run:
    """Measure all of the benchmarks below a temporary folder (of `directory`), and return everything that was seen."""
    started_at, started = datetime.now(UTC), time.perf_counter()
    measured: list[Measured] = []
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="sacho-benchmarks-", dir=directory) as name, ExitStack() as held:
        here = Path(name)
        (here / "prepared").mkdir()
        machine = describe(here)
        harness = Harness(here, rounds, quick=quick, tell=tell, held=held)
        for benchmark in benchmarks:
            measured.append(harness.measure(benchmark))
            rows.extend(rows_of(benchmark, measured[-1]))
    return Run(
        machine,
        rounds,
        quick,
        started_at.isoformat(timespec="seconds"),
        time.perf_counter() - started,
        harness.server,
        harness.prepared,
        measured,
        rows,
    )


def _figure(side: Side, job: bytes) -> float:
    """Have a side measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.worker", side.run]
    pipe = subprocess.PIPE
    with running(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            out, err = process.communicate(job, timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            raise MeasurementFailed(f"{side.name} ({side.run}) took more than {LONGEST_SECONDS:g} s") from None
    if process.returncode != 0:
        raise MeasurementFailed(f"{side.name} ({side.run}) failed:\n{err.decode(errors='replace').strip()}")
    return float(out.split()[-1])

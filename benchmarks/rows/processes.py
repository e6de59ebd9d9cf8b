"""Processes: whether their deadlines are kept, and what a step costs against a plain consumer that appends."""

from __future__ import annotations

from benchmarks.benchmark import Benchmark, Comparison, Side

IN_TIME = (Side("in time", "benchmarks.ours.processes:in_time"),)
STEPS = (Side("steps", "benchmarks.ours.processes:steps"), Side("plain consumer", "benchmarks.ours.processes:plain"))

DEADLINES = Benchmark(
    "deadlines",
    "share",
    sides=IN_TIME,
    comparisons=(
        Comparison("deadlines, 10,000 a minute: share whose step is recorded within 2 s", "in time", at_least=1.0),
    ),
)

PROCESS_STEPS = Benchmark(
    "process-steps",
    "steps/s",
    sides=STEPS,
    comparisons=(
        Comparison("steps of processes vs a plain consumer that appends one event each", "steps", "plain consumer"),
    ),
)

POSTGRES_DEADLINES = Benchmark(
    "postgres-deadlines",
    "share",
    sides=IN_TIME,
    comparisons=(
        Comparison(
            "deadlines on PostgreSQL, 10,000 a minute: share whose step is recorded within 2 s", "in time", at_least=1.0
        ),
    ),
    on_postgres=True,
)

POSTGRES_PROCESS_STEPS = Benchmark(
    "postgres-process-steps",
    "steps/s",
    sides=STEPS,
    comparisons=(
        Comparison(
            "steps of processes on PostgreSQL vs a plain consumer that appends one event each",
            "steps",
            "plain consumer",
        ),
    ),
    on_postgres=True,
)

PROCESSES = (DEADLINES, PROCESS_STEPS)
PROCESSES_ON_POSTGRES = (POSTGRES_DEADLINES, POSTGRES_PROCESS_STEPS)

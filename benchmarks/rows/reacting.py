"""The read side: views that catch up, against reading the same log typed; and how soon a view shows an append."""

from benchmarks.benchmark import Benchmark, Comparison, Side
from benchmarks.rows.million import LONG

CATCH_UP = Benchmark(
    "views-catch-up",
    "events/s",
    prepare=(Side("log of 200,000 for views (sacho)", "benchmarks.ours.reacting:build"),),
    sides=(
        Side("read typed", "benchmarks.ours.reacting:read_typed"),
        Side("counting view", "benchmarks.ours.reacting:count_by_statements"),
        Side("document view", "benchmarks.ours.reacting:keep_documents"),
    ),
    comparisons=(
        Comparison(
            "catch-up, one SQL statement per event, vs reading typed", "counting view", "read typed", at_least=0.08
        ),
        Comparison(
            "catch-up of documents, 20,000 keys, vs reading typed", "document view", "read typed", at_least=0.25
        ),
    ),
)

LATENCY = Benchmark(
    "views-latency",
    "ms",
    sides=(Side("p50", "benchmarks.ours.reacting:middle"), Side("p99", "benchmarks.ours.reacting:late")),
    comparisons=(
        Comparison("append → view visible, same process, 200 appends/s, p50", "p50", at_most=5.0),
        Comparison("the same, p99", "p99", at_most=30.0),
    ),
)

INLINE_SIDES = (
    Side("inline view", "benchmarks.ours.reacting:append_inline"),
    Side("no view", "benchmarks.ours.reacting:append_plain"),
)

INLINE = Benchmark(
    "views-inline",
    "events/s",
    sides=INLINE_SIDES,
    comparisons=(Comparison("append with an inline view vs without, SQLite", "inline view", "no view", at_least=0.5),),
)

INLINE_POSTGRES = Benchmark(
    "postgres-views-inline",
    "events/s",
    sides=INLINE_SIDES,
    comparisons=(
        Comparison("append with an inline view vs without, PostgreSQL", "inline view", "no view", at_least=0.35),
    ),
    on_postgres=True,
)

POSTGRES_CATCH_UP = Benchmark(
    "postgres-views-catch-up",
    "events/s",
    prepare=(
        Side("log of 200,000 for views on PostgreSQL (sacho)", "benchmarks.ours.reacting:build"),
        Side("log of 5,000 for views on PostgreSQL (eventsourcing)", "benchmarks.peers.eventsourcing_projection:build"),
    ),
    sides=(
        Side("sacho", "benchmarks.ours.reacting:count_on_postgres"),
        Side("eventsourcing", "benchmarks.peers.eventsourcing_projection:count"),
        Side("eventsourcing, at ease", "benchmarks.peers.eventsourcing_projection:count_at_ease"),
    ),
    comparisons=(
        Comparison(
            "catch-up of a counting SQL view vs eventsourcing's ProjectionRunner, both with synchronous_commit = off",
            "sacho",
            "eventsourcing, at ease",
            at_least=8.0,
        ),
        Comparison(
            "the same, the peer as it comes: durable for each event, which a view need not be",
            "sacho",
            "eventsourcing",
            at_least=8.0,
        ),
    ),
    on_postgres=True,
)

WORKERS = Benchmark(
    "views-workers",
    "events/s",
    prepare=(
        Side("log of 40,000 for heavy views (sacho)", "benchmarks.ours.reacting:build_heavy"),
        Side("log of 10,000 for heavy views (sacho)", "benchmarks.ours.reacting:build_few_heavy"),
    ),
    sides=(
        Side("two", "benchmarks.ours.reacting:two_workers"),
        Side("one", "benchmarks.ours.reacting:one_worker"),
        Side("two, few", "benchmarks.ours.reacting:two_workers_for_few"),
        Side("one, few", "benchmarks.ours.reacting:one_worker_for_few"),
    ),
    comparisons=(
        Comparison("two workers vs one, CPU-heavy, 8 partitions, 40,000 events", "two", "one", at_least=1.6),
        Comparison("the same, 10,000 events: the seconds until they share count more", "two, few", "one, few"),
    ),
)

MEMORY = Benchmark(
    "views-memory",
    "MiB",
    prepare=(LONG, Side("view of the log of 1,000,000", "benchmarks.ours.reacting:build_long_view")),
    sides=(Side("sacho", "benchmarks.ours.reacting:memory_of_rebuilding"),),
    comparisons=(
        Comparison("memory while a view of 1,000,000 events is rebuilt, above the start", "sacho", at_most=100.0),
    ),
)

REACTING = (CATCH_UP, LATENCY, INLINE, WORKERS, MEMORY)
REACTING_ON_POSTGRES = (POSTGRES_CATCH_UP, INLINE_POSTGRES)

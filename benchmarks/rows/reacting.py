"""The read side: views that catch up, against reading the same log typed; and how soon a view shows an append."""

from benchmarks.benchmark import Benchmark, Comparison, Side

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

REACTING = (CATCH_UP, LATENCY, INLINE)

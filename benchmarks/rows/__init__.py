"""All benchmarks, in the order they run. The long log is built, and PostgreSQL started, when the first benchmark that needs it comes."""

from benchmarks.benchmark import Benchmark
from benchmarks.rows.appending import APPENDING
from benchmarks.rows.deciding import DECIDING
from benchmarks.rows.messaging import MESSAGING
from benchmarks.rows.million import MILLION
from benchmarks.rows.postgres import POSTGRES
from benchmarks.rows.processes import PROCESSES, PROCESSES_ON_POSTGRES
from benchmarks.rows.reacting import REACTING, REACTING_ON_POSTGRES
from benchmarks.rows.reading import READING

ALL: tuple[Benchmark, ...] = (
    *APPENDING,
    *DECIDING,
    *READING,
    *REACTING,
    *PROCESSES,
    *MESSAGING,
    *MILLION,
    *POSTGRES,
    *REACTING_ON_POSTGRES,
    *PROCESSES_ON_POSTGRES,
)

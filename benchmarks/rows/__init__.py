"""All benchmarks, in the order they run. The long log is built when its first benchmark comes."""

from benchmarks.benchmark import Benchmark
from benchmarks.rows.appending import APPENDING
from benchmarks.rows.deciding import DECIDING
from benchmarks.rows.million import MILLION
from benchmarks.rows.reading import READING

ALL: tuple[Benchmark, ...] = (*APPENDING, *DECIDING, *READING, *MILLION)

"""Clients in processes of their own: all get ready, then start at a word."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from subprocess import PIPE
from typing import IO, Final

import msgspec

from benchmarks.client import Worked
from benchmarks.job import Job
from benchmarks.processes import running

ENDS_WITHIN: Final = 1.0
"""A client has nothing to tidy up, and several of them must end before the patience with their measurement does."""


class Clients:
    """Client processes that are ready."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self._processes = processes

    def start(self) -> None:
        """Give them the word."""
        for process in self._processes:
            _say(process, b"go\n")

    def results(self) -> list[Worked]:
        """Wait for them to end; return what came of each."""
        return [msgspec.json.decode(_line(process), type=Worked) for process in self._processes]


@contextmanager
def clients(run: str, job: Job, count: int) -> Iterator[Clients]:
    """Start so many clients, each told its number from 0 on, and wait until all are ready; end them all."""
    with ExitStack() as stack:
        processes = []
        for number in range(count):
            command = [sys.executable, "-m", "benchmarks.client", run, str(number)]
            process = stack.enter_context(running(command, ends_within=ENDS_WITHIN, stdin=PIPE, stdout=PIPE))
            _say(process, job.encode() + b"\n")
            processes.append(process)
        for process in processes:
            _line(process)
        yield Clients(processes)


def seconds_in_clients(run: str, job: Job, count: int) -> tuple[float, list[Worked]]:
    """Have so many clients work at once; return the seconds from the first one's start to the last one's end, and all."""
    with clients(run, job, count) as ready:
        ready.start()
        worked = ready.results()
    return max(one.ended for one in worked) - min(one.started for one in worked), worked


def _say(process: subprocess.Popen[bytes], words: bytes) -> None:
    stdin = _open(process.stdin)
    stdin.write(words)
    stdin.flush()


def _line(process: subprocess.Popen[bytes]) -> bytes:
    """Return the next line of a client, which says on the measurement's own standard error why there is none."""
    line = _open(process.stdout).readline()
    if not line:
        raise RuntimeError(f"a client ended before its time, with exit code {process.wait()}")
    return line


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream

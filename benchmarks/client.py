"""One client of a side that has several: `python -m benchmarks.client module:function number`, a Job in a line on stdin.

The function is a context manager: what it does before it yields makes the client ready, what it yields is the work. The
work begins at the word of the measurement, another line on stdin, and its result is the last line of standard output.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from benchmarks.job import Job
from benchmarks.processes import leave_on_sigterm
from benchmarks.worker import find

Client = Callable[[Job, int], AbstractContextManager[Callable[[], Any]]]


class Worked(msgspec.Struct, frozen=True):
    """What came of a client's work, and when it began and ended, by the clock that all processes share."""

    started: float
    ended: float
    result: Any


def main() -> None:
    """Get ready, wait for the word, work, and say what came out."""
    leave_on_sigterm()
    client: Client = find(sys.argv[1])
    with client(Job.decode(sys.stdin.buffer.readline()), int(sys.argv[2])) as work:
        print("ready", flush=True)
        if not sys.stdin.buffer.readline():
            return  # who started this process is gone
        started = time.perf_counter()
        result = work()
        ended = time.perf_counter()
    print(msgspec.json.encode(Worked(started, ended, result)).decode(), flush=True)


if __name__ == "__main__":
    main()

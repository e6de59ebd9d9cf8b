"""One measurement in a process of its own: `python -m benchmarks.worker module:function`, a Job as JSON on stdin.

The figure comes back as the last line of standard output. A process for each keeps caches, threads, imports and the
garbage collector's heap of one side away from the others.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from importlib import import_module
from types import FrameType

from benchmarks.job import Job


def find(run: str) -> Callable[[Job], float]:
    """Return the function that `module:function` names."""
    module, _, function = run.partition(":")
    found: Callable[[Job], float] = getattr(import_module(module), function)
    return found


def main() -> None:
    """Measure, and say what came out."""
    signal.signal(signal.SIGTERM, _leave)
    job = Job.decode(sys.stdin.buffer.read())
    print(float(find(sys.argv[1])(job)), flush=True)


def _leave(number: int, _: FrameType | None) -> None:
    """End by an exception, so that what was started (a peer's server) is ended too."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()

"""One measurement in a process of its own: `python -m benchmarks.worker module:function`, a Job as JSON on stdin.

The figure comes back as the last line of standard output. A process for each keeps caches, threads, imports and the
garbage collector's heap of one side away from the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from benchmarks.job import Job
from benchmarks.processes import leave_on_sigterm


def find(run: str) -> Callable[..., Any]:
    """Return the function that `module:function` names."""
    module, _, function = run.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


def main() -> None:
    """Measure, and say what came out."""
    leave_on_sigterm()
    job = Job.decode(sys.stdin.buffer.read())
    print(float(find(sys.argv[1])(job)), flush=True)


if __name__ == "__main__":
    main()

"""Clocks around work: by one caller, by threads that start together, by tasks of one event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor


def seconds(work: Callable[[], object]) -> float:
    """Return how long the work took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def seconds_in_threads(callers: int, work: Callable[[int], object]) -> float:
    """Run work(0), work(1), … in a thread each; return the seconds from their common start to the last one's end."""
    start = threading.Barrier(callers + 1)

    def run(caller: int) -> None:
        start.wait()
        work(caller)

    with ThreadPoolExecutor(callers) as pool:
        running = [pool.submit(run, caller) for caller in range(callers)]
        start.wait()
        started = time.perf_counter()
        for one in running:
            one.result()
        return time.perf_counter() - started


async def seconds_in_tasks(callers: int, work: Callable[[int], Awaitable[object]]) -> float:
    """Run work(0), work(1), … as tasks of this loop; return the seconds until the last one's end."""
    started = time.perf_counter()
    await asyncio.gather(*(work(caller) for caller in range(callers)))
    return time.perf_counter() - started

"""Processes that a benchmark starts: each is ended, and only it, by whoever started it, whatever happens."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
ENDS_WITHIN: Final = 10.0


@contextmanager
def running(
    command: Sequence[str], *, ends_within: float = ENDS_WITHIN, **streams: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process in the repository's folder; at the end it has so many seconds. `streams` are those of Popen."""
    process = subprocess.Popen(command, cwd=ROOT, **streams)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                try:
                    process.wait(ends_within)
                finally:  # also where another signal cuts the waiting short
                    process.kill()
                    process.wait()


def leave_on_sigterm() -> None:
    """Have SIGTERM end this process by an exception, so that what it started (a server, clients) is ended too."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, _: FrameType | None) -> Any:
    raise SystemExit(128 + number)

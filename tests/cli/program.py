"""Runs the command line as a program, as a shell would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sacho
from sacho import EventData, RawEvent
from sacho.cli.ending import Exit

SECONDS = 180
ATTEMPTS = 20
COMMAND = [sys.executable, "-m", "sacho"]


def environment(url: str | None, **variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in {"SACHO_STORE", "COLUMNS"}}
    return {**inherited, **({} if url is None else {"SACHO_STORE": url}), **variables}


def run(
    url: str | None, *arguments: str, lines: str | bytes = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; output is taken as UTF-8."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(url, **variables),
        input=lines.encode() if isinstance(lines, str) else lines,
        capture_output=True,
        timeout=SECONDS,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def read_lines(url: str, *arguments: str) -> list[Any]:
    """Run a command with --json and return what its lines say."""
    done = run(url, *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def started(url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command and see to it that it is gone in the end."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(SECONDS)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()


def interrupted_amid(
    url: str, has_begun: Callable[[], object], begin_anew: Callable[[], None], *arguments: str
) -> None:
    """Run a command and interrupt it once it has begun; again from the beginning where it was done before Ctrl-C came."""
    for _ in range(ATTEMPTS):
        with started(url, *arguments) as process:
            ends = time.monotonic() + SECONDS
            while not has_begun() and process.poll() is None:
                assert time.monotonic() < ends
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=SECONDS)
            assert (process.returncode, told) in {(Exit.INTERRUPTED, ""), (Exit.DONE, "")}
            if process.returncode == Exit.INTERRUPTED:
                return
        begin_anew()
    raise AssertionError("it was always done before Ctrl-C came")


def line(type: object = "A", data: object = None, **more: object) -> str:
    """Return one line of input."""
    return json.dumps({"type": type, "data": data, **more}) + "\n"


def fill(url: str, stream: str = "seats-1", count: int = 3, **more: Any) -> None:
    """Append `count` events of type A whose data say their number."""
    with sacho.connect(url) as store:
        for first in range(0, count, 5_000):
            numbers = range(first, min(first + 5_000, count))
            store.append(stream, [EventData(RawEvent("A", {"n": n}), tags=[f"k:{n % 2}"], **more) for n in numbers])


def head_of(url: str) -> int:
    """Return the head of a log, without a process of its own."""
    with sacho.connect(url) as store:
        return store.head()

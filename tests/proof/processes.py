"""Starting the programs of the proofs, and ending them: none outlives its block, and no wait is without end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).parent.parent.parent
SECONDS = 900
"""How long a program may take in all: one that hangs is told, a busy machine is waited for."""
WAIT = 180
"""How long to wait for one event or answer."""

Count: TypeAlias = Callable[[int], int]
Counted: TypeAlias = Callable[[str, object], None]


def command(name: str, *arguments: object) -> list[str]:
    """Return the command line of a program of `programs`, or of another module: `module.program`."""
    module, _, program = name.rpartition(".")
    return [sys.executable, "-m", f"tests.proof.{module or 'programs'}", program, *map(str, arguments)]


@contextmanager
def started(name: str, *arguments: object, before: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program (under another one, where `before` names that); it is killed at the end of the block or in time."""
    process = subprocess.Popen([*before, *command(name, *arguments)], stdout=subprocess.PIPE, cwd=ROOT)
    in_time = threading.Timer(SECONDS, process.kill)
    in_time.daemon = True
    in_time.start()
    try:
        yield process
    finally:
        in_time.cancel()
        process.kill()
        process.wait(SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def finished(*processes: subprocess.Popen[bytes]) -> list[Any]:
    """Wait for programs; return what each acknowledged last. All must have ended well."""
    results = []
    for process in processes:
        output, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, process.args
        results.append(json.loads(output.splitlines()[-1]) if output else None)
    return results


def run(name: str, *arguments: object, before: Sequence[str] = ()) -> Any:
    """Run a program to its end and return what it acknowledged last."""
    with started(name, *arguments, before=before) as process:
        return finished(process)[0]


def until(condition: Callable[[], object]) -> None:
    """Ask again and again until it is so."""
    ends = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < ends

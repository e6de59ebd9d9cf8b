"""Starting the programs of the proofs, and ending them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SECONDS = 300


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "tests.proof.programs", name, *map(str, arguments)]


@contextmanager
def started(name: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program; it does not outlive the block."""
    process = subprocess.Popen(command(name, *arguments), stdout=subprocess.PIPE, cwd=ROOT)
    try:
        yield process
    finally:
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

"""Every acknowledged commit was synced before: seen from outside the process, and by cutting the log back to its syncs.

kill -9 says nothing of the disk, since the system keeps what a dead process wrote.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import sacho
from tests.proof.processes import ROOT, SECONDS, command

CALLS = "trace=pwrite64,fdatasync,fsync,ftruncate,write,unlink"


class Call(NamedTuple):
    """A system call on a file of the log, or an acknowledgement: what, which file, the data and offset of a write."""

    name: str
    file: str
    data: bytes = b""
    offset: int = 0


def traced(tmp_path: Path, count: int, synchronous: str) -> list[Call]:
    """Run the writer under strace and return what it did, in order."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed, so syncs cannot be counted from outside")
    trace = tmp_path / f"trace-{synchronous}"
    url = f"sqlite:///{tmp_path / f'{synchronous}.db'}"
    strace = ["strace", "-f", "-y", "-xx", "-s", "1000000", "-e", CALLS, "-o", str(trace)]
    done = subprocess.run(
        [*strace, *command("write_in_turn", url, count, synchronous)], cwd=ROOT, stderr=subprocess.PIPE, timeout=SECONDS
    )
    if b"ptrace" in done.stderr and done.returncode:
        pytest.skip("tracing is not permitted here, so syncs cannot be counted from outside")
    assert done.returncode == 0, done.stderr[-500:]
    return list(calls_of(trace))


def calls_of(trace: Path) -> Iterator[Call]:
    for line in trace.read_text().splitlines():
        if unlinked := re.match(r'\d+ +unlink\("([^"]*)"\) += 0', line):
            yield Call("unlink", Path(_text(unlinked[1])).name)
            continue
        found = re.match(r"\d+ +(pwrite64|fdatasync|fsync|ftruncate|write)\((\d+)<([^>]*)>(.*)\) += (-?\d+)", line)
        if not found or found[5] == "-1":
            continue
        name, descriptor, file, rest, _ = found.groups()
        file = _text(file)
        if name == "write" and descriptor == "2":
            yield Call("said", "", _bytes(rest))
        elif name == "pwrite64" and ".db" in file:
            yield Call("write", Path(file).name, _bytes(rest), int(rest.rsplit(", ", 1)[1]))
        elif name == "ftruncate" and ".db" in file:
            yield Call("truncate", Path(file).name, b"", int(rest.rsplit(", ", 1)[1]))
        elif name in {"fdatasync", "fsync"}:
            yield Call("sync" if ".db" in file else "sync folder", Path(file).name)


def _text(shown: str) -> str:
    return bytes.fromhex(shown.replace("\\x", "")).decode() if shown.startswith("\\x") else shown


def _bytes(rest: str) -> bytes:
    text = re.search(r'"((?:\\x[0-9a-f]{2})*)"', rest)
    assert text is not None, rest[:80]
    return bytes.fromhex(text[1].replace("\\x", ""))


def unsynced(calls: list[Call]) -> list[int]:
    """Return the positions of acknowledgements that came while something written to the WAL was not synced."""
    dirty, found = False, []
    for call in calls:
        if call.name == "said" and call.data.startswith(b"ACK") and dirty:
            found.append(int(call.data.split()[1]))
        if call.file.endswith("-wal"):
            dirty = call.name != "sync"
    return found


def cut_back(calls: list[Call], acknowledged: int, folder: Path) -> str:
    """Write the files as they were on the disk when `acknowledged` was said, if nothing unsynced survives."""
    synced: dict[str, bytearray] = {}
    pending: dict[str, list[Call]] = {}
    unlinked: list[str] = []
    for call in calls:
        if call.name == "said" and call.data == b"ACK %d\n" % acknowledged:
            break
        if call.name in {"write", "truncate"}:
            pending.setdefault(call.file, []).append(call)
        elif call.name == "unlink":
            unlinked.append(call.file)
        elif call.name == "sync folder":
            for file in unlinked:
                synced.pop(file, None)
        elif call.name == "sync":
            for done in pending.pop(call.file, []):
                _apply(synced.setdefault(call.file, bytearray()), done)
    folder.mkdir()
    for file, content in synced.items():
        if not file.endswith("-shm"):
            (folder / file).write_bytes(content)
    return f"sqlite:///{folder / next(file for file in synced if file.endswith('.db'))}"


def _apply(content: bytearray, call: Call) -> None:
    if call.name == "truncate":
        del content[call.offset :]
        return
    end = call.offset + len(call.data)
    content.extend(bytes(max(0, end - len(content))))
    content[call.offset : end] = call.data


def test_each_acknowledged_commit_was_synced_before(
    tmp_path: Path, soak_count: Callable[[int], int], counted: Callable[[str, object], None]
) -> None:
    count = soak_count(2_000)
    calls = traced(tmp_path, count, "FULL")
    begin = next(at for at, call in enumerate(calls) if call.data == b"BEGIN\n")
    syncs = sum(1 for call in calls[begin:] if call.name == "sync" and call.file.endswith("-wal"))
    said = sum(1 for call in calls if call.data.startswith(b"ACK"))
    assert said == count
    assert syncs >= count
    assert unsynced(calls) == []
    counted("acknowledged commits, syncs of the write-ahead log seen from outside", f"{said}, {syncs}")


def test_a_log_cut_back_to_its_last_sync_has_every_acknowledged_event(
    tmp_path: Path, soak_count: Callable[[int], int], counted: Callable[[str, object], None]
) -> None:
    count, cuts = soak_count(2_000), soak_count(100)
    calls = traced(tmp_path, count, "FULL")
    for cut in range(cuts):
        acknowledged = 1 + cut * (count - 1) // max(1, cuts - 1)
        with sacho.connect(cut_back(calls, acknowledged, tmp_path / f"cut-{cut}")) as store:
            assert [one.event.data["n"] for one in store.read("seats-1", raw=True)][:acknowledged] == list(
                range(acknowledged)
            )
    counted("power cuts simulated", cuts)


def test_a_writer_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    """The same look at a log that is written with synchronous=OFF: the proof can fail."""
    assert len(unsynced(traced(tmp_path, 50, "OFF"))) == 50

"""What a program did to the files of a log, seen from outside by strace; and the disk that a power cut would leave.

kill -9 says nothing of the disk, since the system keeps what a dead process wrote.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import pytest

from tests.proof.processes import ROOT, SECONDS, command

WRITES: Final = "pwrite64,pwritev,pwritev2,writev,ftruncate,fallocate,rename,link"
CALLS: Final = f"trace={WRITES},openat,write,unlink,fdatasync,fsync,sync_file_range,syncfs,sync,msync"
SECTOR: Final = 512


class Call(NamedTuple):
    """A system call on a file of the log, or something said: what, which file, the data and offset of a write."""

    name: str
    file: str = ""
    data: bytes = b""
    offset: int = 0


def strace_or_skip() -> list[str]:
    """Return how strace is called; skip where it may not be."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed, so nothing can be seen or disturbed from outside")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode:
        pytest.skip("tracing is not permitted here, so nothing can be seen or disturbed from outside")
    return ["strace", "-f"]


def traced(folder: Path, *arguments: object) -> list[Call]:
    """Run a program that says on standard error what it acknowledges; return what it did, in order."""
    trace = folder / "trace"
    strace = [*strace_or_skip(), "-y", "-xx", "-s", "1000000", "-e", CALLS, "-o", str(trace)]
    done = subprocess.run([*strace, *command(*map(str, arguments))], cwd=ROOT, stderr=subprocess.PIPE, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    return [call for line in whole_lines(trace) if (call := call_of(line)) is not None]


def whole_lines(trace: Path) -> Iterator[str]:
    """Yield calls in the order in which they ended; what is said on standard error, when it was begun."""
    begun: dict[str, str] = {}
    with trace.open(encoding="ascii") as lines:
        for line in lines:
            process, text = line.rstrip("\n").split(maxsplit=1)
            if text.endswith(" <unfinished ...>"):
                text = text.removesuffix(" <unfinished ...>")
                if text.startswith("write(2<"):
                    yield f"{text}) = 1"
                else:
                    begun[process] = text
            elif resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", text):
                if process in begun:
                    yield begun.pop(process) + resumed[1]
            else:
                yield text


def call_of(line: str) -> Call | None:
    """Return what a line says of a file of the log (all its files have `.db` in their names), or None."""
    found = re.match(r"(\w+)\((.*)\) += (-?\d+)", line)
    if found is None or found[3] == "-1":
        return None
    name, rest, _ = found.groups()
    if name == "write" and rest.startswith("2<"):
        return Call("said", data=_quoted(rest))
    file = Path(_path(name, rest)).name
    if name in {"fdatasync", "fsync"}:
        return Call("sync" if ".db" in file else "sync folder", file)
    if ".db" not in file or file.endswith("-shm"):
        return None
    if name == "openat":
        return Call("make", file) if "O_CREAT" in rest else None
    if name == "pwrite64":
        return Call("write", file, _quoted(rest), int(rest.rsplit(", ", 1)[1]))
    if name == "ftruncate":
        return Call("truncate", file, b"", int(rest.rsplit(", ", 1)[1]))
    assert name == "unlink", f"nobody said what {name} means for a disk: {line[:200]}"
    return Call("unlink", file)


def _path(name: str, rest: str) -> str:
    if name in {"openat", "unlink"}:
        return _quoted(rest).decode()
    shown = re.search(r"<([^>]*)>", rest)
    assert shown is not None, (name, rest[:200])
    return bytes.fromhex(shown[1].replace("\\x", "")).decode() if shown[1].startswith("\\x") else shown[1]


def _quoted(rest: str) -> bytes:
    text = re.search(r'"((?:\\x[0-9a-f]{2})*)"', rest)
    assert text is not None, rest[:200]
    return bytes.fromhex(text[1].replace("\\x", ""))


class _File:
    """What of a file is surely on the disk, and what was done to it since."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.pending: list[Call] = []

    def sync(self) -> None:
        for call in self.pending:
            apply(self.synced, call)
        self.pending = []


class Disk:
    """A disk that keeps what was synced, and of the rest as little, as much or as odd a part as it likes.

    The names in a folder are kept for certain when the folder was synced, too.
    """

    def __init__(self) -> None:
        self._names: dict[str, _File] = {}
        self._kept_names: dict[str, _File] = {}

    def do(self, call: Call) -> None:
        """Take in the next call."""
        match call.name:
            case "make":
                self._names.setdefault(call.file, _File())
            case "unlink":
                self._names.pop(call.file, None)
            case "write" | "truncate":
                self._names[call.file].pending.append(call)
            case "sync" if call.file in self._names:
                self._names[call.file].sync()
            case "sync folder":
                self._kept_names = dict(self._names)

    def files(self, kind: str, random: Random) -> dict[str, bytes]:
        """Return the files after a power cut now: `nothing`, `everything` or `some` of what was not synced is there."""
        names = {"nothing": self._kept_names, "everything": self._names}.get(kind)
        if names is None:
            either = (self._names, self._kept_names)
            chosen = {name: random.choice(either).get(name) for name in {**self._names, **self._kept_names}}
            names = {name: file for name, file in chosen.items() if file is not None}
        return {name: bytes(self._content(file, kind, random)) for name, file in names.items()}

    @staticmethod
    def _content(file: _File, kind: str, random: Random) -> bytearray:
        content, share = bytearray(file.synced), random.random()
        for call in file.pending if kind != "nothing" else ():
            if kind == "everything" or random.random() < share:
                torn = kind == "some" and random.random() < 0.3
                apply(content, call, random.randrange(0, len(call.data) + 1, SECTOR) if torn else None)
        return content


def apply(content: bytearray, call: Call, only: int | None = None) -> None:
    """Do a write (or `only` its first bytes) or a truncation to a file's content."""
    if call.name == "truncate":
        del content[call.offset :]
        content.extend(bytes(call.offset - len(content)))
        return
    data = call.data[:only]
    content.extend(bytes(max(0, call.offset + len(data) - len(content))))
    content[call.offset : call.offset + len(data)] = data

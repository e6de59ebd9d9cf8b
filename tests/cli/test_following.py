"""Following a log: what other processes append is shown at once, until Ctrl-C or until nobody reads any more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any

import pytest

import sacho
from sacho import EventData, RawEvent
from tests.cli.program import COMMAND, SECONDS, environment, fill, head_of, line, run, started

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


class Lines:
    """The lines of a running program, each within a deadline."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def next(self, seconds: float = SECONDS) -> str:
        return self._lines.get(timeout=seconds)

    def next_json(self) -> Any:
        return json.loads(self.next())

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for text in process.stdout:
            self._lines.put(text)


def interrupted(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGINT)
    return process.wait(SECONDS)


def test_tail_shows_what_another_process_appends_and_ends_by_ctrl_c(url: str) -> None:
    fill(url)
    with started(url, "tail", "--after", "3", "--json") as tail:
        lines = Lines(tail)
        for number in range(3):
            assert run(url, "append", "seats-2", lines=line("B", number)).returncode == 0
            found = lines.next_json()
            assert (found["type"], found["data"], found["position"]) == ("B", number, 4 + number)
        assert interrupted(tail) == 130
        assert tail.stderr is not None
        assert tail.stderr.read() == ""


def test_tail_begins_at_the_head_unless_told_otherwise(url: str) -> None:
    fill(url)
    with started(url, "tail", "--json") as tail:
        lines = Lines(tail)
        assert first_after_start(url, lines)["data"] == "later"


@pytest.mark.parametrize(("after", "positions"), [("0", [1, 2, 3, 4]), ("2", [3, 4])])
def test_tail_catches_up_from_a_position_and_goes_on_live(url: str, after: str, positions: Sequence[int]) -> None:
    fill(url)
    with started(url, "tail", "--after", after, "--json") as tail:
        lines = Lines(tail)
        found = [lines.next_json()["position"] for _ in positions[:-1]]
        fill(url, count=1)
        assert [*found, lines.next_json()["position"]] == positions


@pytest.mark.parametrize(
    "filters", [("--type", "B"), ("--tag", "x:y"), ("--category", "rooms"), ("--correlation", "c1")]
)
def test_tail_shows_only_what_the_filters_mean(url: str, filters: Sequence[str]) -> None:
    fill(url)
    with started(url, "tail", "--after", "0", "--json", *filters) as tail:
        lines = Lines(tail)
        fill(url)
        with sacho.connect(url) as store:
            store.append("rooms-1", [EventData(RawEvent("B", 1), tags=["x:y"], metadata={"correlation_id": "c1"})])
        assert lines.next_json()["position"] == 7


def test_tail_for_people_is_a_line_an_event(url: str) -> None:
    fill(url)
    with started(url, "tail", "--after", "0") as tail:
        lines = Lines(tail)
        shown = [lines.next() for _ in range(3)]
    assert all("seats-1" in one and '{"n":' in one for one in shown)


def test_tail_ends_after_as_many_as_were_asked_for(url: str) -> None:
    fill(url)
    done = run(url, "tail", "--after", "0", "--limit", "2", "--json")
    assert done.returncode == 0
    assert [json.loads(one)["position"] for one in done.stdout.splitlines()] == [1, 2]


def test_tail_of_nothing_ends_at_once(url: str) -> None:
    fill(url)
    assert run(url, "tail", "--limit", "0").stdout == ""


def test_each_line_is_handed_on_at_once_also_into_a_pipe(url: str) -> None:
    fill(url, count=1)
    with started(url, "tail", "--after", "0") as tail:
        assert Lines(tail).next()
        assert tail.poll() is None


def test_tail_ends_when_its_reader_has_gone_though_nothing_happens(url: str) -> None:
    fill(url, count=1)
    with started(url, "tail", "--after", "0") as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert tail.stdout.readline()
        tail.stdout.close()
        assert tail.wait(SECONDS) == 0
        assert tail.stderr.read() == ""


def test_ctrl_c_ends_a_long_read_quietly(url: str) -> None:
    fill(url, count=20_000)
    with started(url, "read-all", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(SECONDS) == 130
        assert process.stderr.read() == ""


def test_ctrl_c_while_lines_are_awaited_appends_nothing(url: str) -> None:
    fill(url)
    with subprocess.Popen(
        [*COMMAND, "append", "seats-1"], env=environment(url), stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        # More than a pipe holds: once all of it is written, the program is reading its input.
        process.stdin.write(line("A", "x" * 100) * 2_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert process.stderr.read() == ""
    assert head_of(url) == 3


def first_after_start(url: str, lines: Lines) -> Any:
    """Append until the tail, which begins some time, shows one."""
    for _ in attempts():
        with sacho.connect(url) as store:
            store.append("seats-2", [RawEvent("B", "later")])
        try:
            return json.loads(lines.next(seconds=0.2))
        except Empty:
            continue
    raise AssertionError("tail showed nothing")


def attempts() -> Iterator[int]:
    return iter(range(SECONDS * 5))

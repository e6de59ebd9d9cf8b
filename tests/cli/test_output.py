"""What is printed: safe for any terminal, sensible on a narrow one, and page by page however long it is."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.cells import cell_len

import sacho
from sacho import EventData, RawEvent
from tests.cli.program import fill, read_lines, run, started

HOSTILE = "\x1b[31m \x1b]0;title\x07 \x9b2J \u202e \u2028 \x85 \x7f \x00 [red]markup[/red] :smile: [link=x]"
OBEYED = "\x1b\x07\x9b\u202e\u2028\x85\x7f\x00\r"


@pytest.fixture
def hostile(url: str) -> str:
    event = EventData(RawEvent("[bold]T[/]", {HOSTILE: [HOSTILE]}), tags=["k:[red]v"], metadata={"m": HOSTILE})
    with sacho.connect(url) as store:
        store.append("[blink]s-1", [event])
    return url


@pytest.mark.parametrize("columns", ["40", "200"])
@pytest.mark.parametrize(
    "command", [("read-all",), ("read", "[blink]s-1"), ("tail", "--after", "0", "--limit", "1"), ("streams",)]
)
def test_what_stands_in_events_is_shown_and_never_obeyed(hostile: str, command: Sequence[str], columns: str) -> None:
    done = run(hostile, *command, COLUMNS=columns, FORCE_COLOR="", TERM="xterm")
    assert done.returncode == 0
    assert [character for character in OBEYED if character in done.stdout] == []


def test_markup_in_events_is_plain_text(hostile: str) -> None:
    shown = run(hostile, "read-all", COLUMNS="400").stdout
    assert "[red]markup[/red] :smile: [link=x]" in shown
    assert "[bold]T[/]" in shown
    assert "k:[red]v" in shown


def test_lines_of_json_are_safe_and_still_say_the_same(hostile: str) -> None:
    done = run(hostile, "read-all", "--json")
    assert [character for character in OBEYED if character in done.stdout] == []
    assert len(done.stdout.splitlines()) == 1
    found = json.loads(done.stdout)
    assert (found["data"], found["metadata"]) == ({HOSTILE: [HOSTILE]}, {"m": HOSTILE})


@pytest.mark.parametrize("columns", [30, 40, 80, 119, 120, 200])
def test_a_table_is_never_wider_than_the_terminal_and_loses_nothing(url: str, columns: int) -> None:
    with sacho.connect(url) as store:
        event = EventData(RawEvent("SeatsReserved", {"held": {"GA": 12345}, "이름": "한국어"}), tags=["conference:42"])
        store.append("conference-6f1c2ab0", [event])
    shown = run(url, "read-all", COLUMNS=str(columns)).stdout
    assert max(cell_len(one) for one in shown.splitlines()) <= columns
    if columns >= 80:
        for text in ("SeatsReserved", "conference:42", '{"held":{"GA":12345}', "conference-6f1c2ab0"):
            assert text in shown


def test_the_columns_of_a_long_table_stay_where_they_are(url: str) -> None:
    fill(url, count=1_000)
    lines = run(url, "read", "seats-1", COLUMNS="120").stdout.splitlines()
    assert len(lines) == 1 + 1_000
    assert sum("position" in one for one in lines) == 1
    assert len({one.index("seats-1") for one in lines[1:]}) == 1


def test_long_data_is_cut_in_tables_only(url: str) -> None:
    with sacho.connect(url) as store:
        store.append("seats-1", [RawEvent("A", "x" * 5_000)])
    shown = run(url, "read", "seats-1").stdout
    assert "--json shows all" in " ".join(shown.split())
    assert len(shown) < 3_000
    assert read_lines(url, "read", "seats-1")[0]["data"] == "x" * 5_000


@pytest.mark.parametrize("command", [("read-all",), ("read-all", "--json"), ("head",), ("streams",), ("info",)])
def test_a_locale_that_knows_only_ascii_is_no_obstacle(url: str, command: Sequence[str]) -> None:
    with sacho.connect(url) as store:
        store.append("좌석-1", [RawEvent("예약", {"이름": "😀"})])
    done = run(url, *command, PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (done.returncode, done.stderr) == (0, "")
    if "--json" in command:
        assert json.loads(done.stdout)["data"] == {"이름": "😀"}


def test_json_has_no_colours_even_where_they_are_forced(url: str) -> None:
    fill(url)
    assert "\x1b" not in run(url, "read-all", "--json", FORCE_COLOR="1").stdout


@pytest.mark.parametrize("arguments", [("read-all", "--json"), ("read-all",), ("read", "seats-1", "--json")])
def test_long_output_comes_while_the_log_is_being_read(url: str, arguments: Sequence[str]) -> None:
    """A pipe holds far less than the output: who can read its first line while the program still runs sees it stream."""
    fill(url, count=20_000)
    with started(url, *arguments) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert process.poll() is None


def test_all_lines_come_also_where_python_is_told_not_to_buffer(url: str) -> None:
    fill(url, count=5_000)
    buffered, unbuffered = (run(url, "read-all", "--json", PYTHONUNBUFFERED=value) for value in ("", "1"))
    assert buffered.stdout == unbuffered.stdout
    assert len(buffered.stdout.splitlines()) == 5_000


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the memory of one child cannot be told here")
@pytest.mark.parametrize(("arguments", "count"), [(("read-all", "--json"), 100_000), (("read-all",), 8_000)])
def test_memory_does_not_grow_with_the_log(tmp_path: Path, arguments: Sequence[str], count: int) -> None:
    sizes = []
    for events in (1_000, count):
        url = f"sqlite:///{tmp_path / f'{events}.db'}"
        fill(url, count=events)
        with started(url, *arguments) as process:
            assert process.stdout is not None
            printed = sum(1 for _ in process.stdout)
            assert printed >= events
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        sizes.append(usage.ru_maxrss)
    small, large = sizes
    assert large - small < 24 * 1024, f"{small} and {large} KiB"

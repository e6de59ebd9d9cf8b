"""The organiser's figures at the terminal: the command shows them of any log, and changes nothing by looking."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import sacho
from examples.conference.orders import CancelOrder
from examples.conference.organiser import sparkline
from tests.examples.world import PATIENCE, running

ROOT = Path(__file__).parents[2]


def organiser(url: str) -> str:
    command = [sys.executable, "-W", "error", "-m", "examples.conference", "organiser", url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_the_figures_of_a_conference_are_shown_and_looking_changes_nothing(
    engine: str, url_of: Callable[[str], str]
) -> None:
    url = url_of(engine)
    with running(url) as world:
        world.open(GA=4, WS=2)
        world.register("o1", GA=2)
        world.register("o2", GA=2)
        world.pay("o1", "p1")
        world.provider.settle("p1")
        world.settle()
        world.do(CancelOrder("o2"))
        world.settle()
        head = world.app.store.head()
    shown = [" ".join(line.split()) for line in organiser(url).splitlines()]
    assert any(line.startswith("│ placed │ 2 │ ████") for line in shown)
    assert any(line.startswith("│ reserved │ 2 │ ████") and line.endswith("│ 1 │") for line in shown)
    assert any(line.startswith("│ confirmed │ 1 │ ████") for line in shown)
    assert any("Seats GA" in line and line.endswith("│ 2 │ 2 │") for line in shown)
    assert any("(2 orders)" in line for line in shown)
    with sacho.connect(url) as store:
        assert store.head() == head


def test_a_log_without_conferences_says_so(url_of: Callable[[str], str]) -> None:
    assert "there is no conference" in organiser(url_of("sqlite"))


def test_a_sparkline_has_a_block_for_each_value_as_high_as_its_part() -> None:
    assert sparkline([0, 1, 4, 8, 4], most=8) == " ▁▄█▄"
    assert sparkline([9, -1], most=8) == "█ "
    assert sparkline([], most=0) == ""
    assert len(sparkline(list(range(100)), most=100)) == 40

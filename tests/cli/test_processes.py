"""`sacho processes`: the processes of an application's process managers, listed, shown and retried at the command line."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from sacho.reacting import Application
from tests.cli.program import COMMAND, SECONDS, environment
from tests.reacting.processes.shop import ROUTES, Fulfilment, PayOrder, PlaceOrder

ROOT = Path(__file__).parent.parent.parent
MODULE = """
from sacho.reacting import Application
from tests.reacting.processes.shop import ROUTES, Fulfilment

def app():
    return Application("sqlite:///shop.db", consumers=[Fulfilment], routes=ROUTES)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "cli_processes.py").write_text(MODULE)
    with Application(f"sqlite:///{tmp_path}/shop.db", consumers=[Fulfilment], routes=ROUTES) as app:
        app.bus.handle(PlaceOrder("o1", "book"))
        app.bus.handle(PlaceOrder("o2", "pen"))
        app.bus.handle(PayOrder("o2"))
        app.bus.handle(PlaceOrder("o3", "poison"))
        app.run(once=True)
        app.run(once=True)
    return tmp_path


def command(shop: Path, *arguments: str, columns: str = "250") -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    variables = environment(None, SACHO_APP="cli_processes:app", COLUMNS=columns, PYTHONPATH=path)
    return subprocess.run(
        [*COMMAND, "processes", *arguments], cwd=shop, env=variables, capture_output=True, text=True, timeout=SECONDS
    )


def listed(shop: Path, *arguments: str) -> dict[str, str]:
    done = command(shop, "list", *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return {one["key"]: one["standing"] for one in map(json.loads, done.stdout.splitlines())}


def test_processes_are_listed_by_how_they_stand(shop: Path) -> None:
    assert listed(shop) == {"o1": "running", "o2": "done", "o3": "stuck"}
    assert listed(shop, "fulfilment", "--only", "stuck") == {"o3": "stuck"}
    assert listed(shop, "--only", "running", "--idle-minutes", "60") == {}
    table = command(shop, "list").stdout
    assert "ValueError: poison" in table
    assert "shop." in table


def test_a_narrow_list_says_nothing_where_nothing_is_stuck(shop: Path) -> None:
    assert "None" not in command(shop, "list", columns="80").stdout


def test_a_process_is_shown_with_its_state_deadlines_steps_and_what_is_parked(shop: Path) -> None:
    shown = command(shop, "show", "fulfilment", "o1").stdout
    for text in ("fulfilment-o1", '"phase":"hold', "payment at ", "HoldGoods", "shop.order-placed"):
        assert text in shown
    facts = json.loads(command(shop, "show", "fulfilment", "o1", "--json").stdout)
    assert facts["steps"][0]["commands"][0]["command"] == "HoldGoods"
    assert "parked: fulfilment at position" in command(shop, "show", "fulfilment", "o3").stdout


def test_a_stuck_process_is_asked_to_be_tried_again(shop: Path) -> None:
    done = command(shop, "retry", "fulfilment", "o3")
    assert (done.returncode, done.stdout) == (
        0,
        "1 parked event of fulfilment o3 will be tried again by the runner\n",
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("show", "tea", "o1"), "there is no process manager 'tea'"),
        (("show", "fulfilment", "o9"), "there is no process 'o9' of fulfilment"),
        (("list", "tea"), "there is no process manager 'tea'"),
        (("retry", "fulfilment", "o9"), "there is no process 'o9' of fulfilment"),
        (("list", "--idle-minutes", "1e300"), "Must be from 0"),
        (("list", "--idle-minutes", "nan"), "Must be from 0"),
        (("list", "--idle-minutes=-5"), "Must be from 0"),
        (("list", "--limit=-1"), "Must be >= 0"),
    ],
    ids=["manager", "process", "list", "retry", "idle", "idle NaN", "idle below", "limit"],
)
def test_what_is_not_known_is_one_line(shop: Path, arguments: tuple[str, ...], text: str) -> None:
    done = command(shop, *arguments)
    assert done.returncode != 0
    assert done.stderr.startswith("sacho: error: ")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1

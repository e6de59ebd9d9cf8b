"""`sacho run` and `sacho projections`: an application's consumers, run and looked after from the command line."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

import sacho
from sacho import RawEvent
from tests.cli.program import COMMAND, SECONDS, environment

MODULE = '''
"""An application whose handler fails at 3, unless a file is there."""
import pathlib
import sqlalchemy as sa
from sacho import Event
from sacho.deciding import Retry
from sacho.reacting import Application, Projection, handles

class Sale(Event, type="CliSale"):
    n: int

class Sales(Projection):
    retry = Retry(attempts=2, first_pause=0.01, longest_pause=0.01)
    sales = sa.Table("sales", sa.MetaData(), sa.Column("n", sa.Integer, primary_key=True))

    @handles(Sale)
    def sale(self, event, changes):
        if event.n == 3 and not pathlib.Path("mended").exists():
            raise ValueError("three is too much")
        changes.execute(self.sales.insert().values(n=event.n))

def app():
    return Application("sqlite:///shop.db", consumers=[Sales])

class Doubled(Projection):
    name, version, takes_over = "sales", 2, "manual"
    sales = sa.Table(
        "sales", sa.MetaData(), sa.Column("n", sa.Integer, primary_key=True), sa.Column("twice", sa.Integer)
    )

    @handles(Sale)
    def sale(self, event, changes):
        if event.n != 1:
            changes.execute(self.sales.insert().values(n=event.n, twice=2 * event.n))

def both():
    return Application("sqlite:///shop.db", consumers=[Sales, Doubled])

def apart():
    return Application("sqlite:///shop.db", consumers=[Sales], views="sqlite:///views.db")

def broken():
    raise ValueError("no such shop")

def leaking():
    raise ValueError("postgresql://me:geheim@shop.example/shop does not answer")

def elsewhere():
    return Application("sqlite:///shop.db", consumers=[Sales], views="postgresql://me:geheim@127.0.0.1:1/views")
'''

HANGING = """
import sys, threading
from sacho import Event
from sacho.reacting import Application, Consumer, handles

class Sale(Event, type="CliSale"):
    n: int

class Hanging(Consumer):
    @handles(Sale)
    def sale(self, event, delivery):
        print("it hangs", file=sys.stderr, flush=True)
        threading.Event().wait()

app = Application("sqlite:///shop.db", consumers=[Hanging])
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "cli_shop.py").write_text(MODULE)
    return tmp_path


def sell(shop: Path, *numbers: int) -> None:
    with sacho.connect(f"sqlite:///{shop}/shop.db") as store:
        store.append("sales-1", [RawEvent("CliSale", {"n": number}) for number in numbers])


def command(shop: Path, *arguments: str, wide: bool = False, app: str = "app") -> subprocess.CompletedProcess[str]:
    variables = environment(None, SACHO_APP=f"cli_shop:{app}", **({"COLUMNS": "250"} if wide else {}))
    return subprocess.run(
        [*COMMAND, *arguments], cwd=shop, env=variables, capture_output=True, text=True, timeout=SECONDS
    )


def status(shop: Path) -> dict[str, object]:
    done = command(shop, "projections", "status", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_once_catches_up_and_ends(shop: Path) -> None:
    sell(shop, 1, 2)
    done = command(shop, "run", "cli_shop:app", "--once")
    assert (done.returncode, done.stdout) == (0, "")
    found = status(shop)
    assert (found["name"], found["state"], found["position"], found["handled"]) == ("sales", "serving", 2, 2)


def test_a_poison_event_is_told_listed_and_tried_again_when_mended(shop: Path) -> None:
    sell(shop, 1, 3, 4)
    done = command(shop, "run", "cli_shop:app", "--once")
    assert done.returncode == 1
    assert "three is too much" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "three is too much" in command(shop, "projections", "parked", "sales").stdout
    shown = command(shop, "projections", "show", "sales", "2").stdout
    assert "Traceback" in shown
    assert '{"n":3}' in shown.replace(" ", "")
    assert "stopped at 2: ValueError" in " ".join(command(shop, "projections", "status", wide=True).stdout.split())
    (shop / "mended").touch()
    assert command(shop, "projections", "retry", "sales").returncode == 0
    assert command(shop, "run", "cli_shop:app", "--once").returncode == 0
    assert (status(shop)["position"], status(shop)["handled"]) == (3, 3)


def test_a_dropped_event_is_left_out(shop: Path) -> None:
    sell(shop, 1, 3, 4)
    assert command(shop, "run", "cli_shop:app", "--once").returncode == 1
    assert command(shop, "projections", "drop", "sales", "2").returncode == 0
    assert command(shop, "run", "cli_shop:app", "--once").returncode == 0
    assert (status(shop)["position"], status(shop)["handled"]) == (3, 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_the_normal_end(shop: Path, number: signal.Signals) -> None:
    sell(shop, 1)
    program = [*COMMAND, "run", "cli_shop:app"]
    with subprocess.Popen(
        program, cwd=shop, env=environment(None), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "serves now" in process.stderr.readline()
        process.send_signal(number)
        _, told = process.communicate(timeout=SECONDS)
    assert (process.returncode, told) == (0, "")


def test_a_second_signal_ends_at_once_though_a_handler_hangs(shop: Path) -> None:
    (shop / "hanging.py").write_text(HANGING)
    sell(shop, 1)
    with subprocess.Popen(
        [*COMMAND, "run", "hanging:app"], cwd=shop, env=environment(None), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "it hangs\n"
        ends, pause = time.monotonic() + SECONDS, 0.5
        while process.poll() is None and time.monotonic() < ends:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(pause)
            pause = 5.0  # the second one may need a while on a busy machine, and is not to be met by a third
        assert process.returncode in {130, -signal.SIGTERM}
        assert process.stderr.read() == ""


def test_a_terminal_sees_how_far_catching_up_has_come(shop: Path) -> None:
    sell(shop, 1, 2)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "run", "cli_shop:app", "--once"], cwd=shop, env=environment(None, TERM="xterm"), stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # how a terminal says that nobody writes to it any more
            while part := os.read(ours, 65_536):
                shown += part
        os.close(ours)
        assert process.wait(SECONDS) == 0
    for word in (b"sales@1", b"100%", b"left", b"serves now"):
        assert word in shown


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raising:app", "cannot be imported: RuntimeError: not today"),
        ("leaving:app", "cannot be imported: SystemExit"),
        ("cli_shop:broken", "makes no application: ValueError: no such shop"),
        ("no_such_module:app", "cannot be imported: ModuleNotFoundError"),
        ("cli_shop:nothing", "is no Application"),
        ("cli_shop", "write MODULE:NAME"),
    ],
)
def test_what_names_no_application_is_told_in_one_line(shop: Path, name: str, said: str) -> None:
    (shop / "raising.py").write_text("raise RuntimeError('not today')")
    (shop / "leaving.py").write_text("raise SystemExit(0)")
    done = command(shop, "run", name)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_consumer_is_told_in_one_line(shop: Path) -> None:
    done = command(shop, "projections", "rebuild", "nothing")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "sales" in done.stderr


def test_json_may_stand_before_the_command_and_a_narrow_terminal_gets_a_narrow_table(shop: Path) -> None:
    sell(shop, 1, 3)
    command(shop, "run", "cli_shop:app", "--once")
    found = command(shop, "--json", "projections", "status")
    assert json.loads(found.stdout)["parked"] == 1
    lines = command(shop, "projections", "status").stdout.splitlines()
    assert lines[0].split() == ["consumer", "state", "position", "behind", "more"]
    assert "1 parked" in lines[1]
    assert "stopped at 2: ValueError" in " ".join(" ".join(lines[1:]).split())


def test_one_build_of_a_version_is_switched_to_and_removed(shop: Path) -> None:
    sell(shop, 1, 2)
    for arguments in (("run", "cli_shop:app", "--once"), ("projections", "rebuild", "sales")):
        assert command(shop, *arguments).returncode == 0
    command(shop, "run", "cli_shop:app", "--once")
    assert "sales@1 takes over" in command(shop, "projections", "switch", "sales", "1", "--build", "0").stdout
    command(shop, "run", "cli_shop:app", "--once")
    assert command(shop, "projections", "remove", "sales", "1", "--build", "0").stderr.count("it serves") == 1
    assert "removed: sales@1.1" in command(shop, "projections", "remove", "sales", "1", "--build", "1").stdout
    assert status(shop)["build"] == 0


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("leaking", 2, "shop.example/shop does not answer"), ("elsewhere", 5, "127.0.0.1:1/views")],
)
def test_a_server_that_is_away_is_told_without_what_stands_before_the_at(
    shop: Path, name: str, code: int, said: str
) -> None:
    for arguments in (["run", f"cli_shop:{name}", "--once"], ["projections", "status", "--app", f"cli_shop:{name}"]):
        done = command(shop, *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1)
        assert said in done.stderr
        assert "geheim" not in done.stderr


def test_a_narrow_table_has_the_rest_one_below_the_other(shop: Path) -> None:
    sell(shop, 1, 3)
    command(shop, "run", "cli_shop:app", "--once")
    with subprocess.Popen(
        [*COMMAND, "run", "cli_shop:app"], cwd=shop, env=environment(None), stderr=subprocess.DEVNULL
    ) as runner:
        try:
            ends = time.monotonic() + SECONDS
            while "workers: " not in (found := command(shop, "projections", "status").stdout):
                assert time.monotonic() < ends
        finally:
            runner.terminate()
    assert "\\u000a" not in found
    assert len([line for line in found.splitlines() if "workers: " in line or "error: " in line]) == 2


def test_what_a_new_version_has_otherwise_is_shown_before_it_takes_over(shop: Path) -> None:
    sell(shop, 1, 2)
    assert command(shop, "run", "cli_shop:both", "--once").returncode == 0
    compared = ("projections", "compare", "sales")
    shown = command(shop, *compared, app="both", wide=True)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "sales: 0 rows added, 1 removed, 0 changed" in shown.stdout
    assert "sales: columns added: twice" in shown.stdout
    found = json.loads(command(shop, *compared, "1", "2", "--json", app="both").stdout)
    assert (found["old"], found["new"]) == ("sales@1 at 2", "sales@2 at 2")
    assert [row["key"] for row in found["tables"][0]["shown"]] == [{"n": 1}]
    assert "sales@2 takes over" in command(shop, "projections", "switch", "sales", "2", app="both").stdout
    with closing(sqlite3.connect(shop / "shop.db")) as connection:
        assert connection.execute("SELECT n, twice FROM sales").fetchall() == [(2, 4)]


@pytest.mark.parametrize("chosen", ["rebuild", "accept"])
def test_after_a_restore_either_of_what_is_offered_goes_on(shop: Path, chosen: str) -> None:
    run = ("run", "cli_shop:apart", "--once")
    sell(shop, 1, 2)
    shutil.copyfile(shop / "shop.db", shop / "saved.db")
    sell(shop, 4, 5)
    assert command(shop, *run).returncode == 0
    for suffix in ("-wal", "-shm"):
        (shop / f"shop.db{suffix}").unlink(missing_ok=True)
    shutil.copyfile(shop / "saved.db", shop / "shop.db")
    told = command(shop, *run)
    assert (told.returncode, told.stderr.count("\n")) == (1, 1)
    assert "up to position 4, but the log ends at 2" in told.stderr
    assert f"sacho projections {chosen} sales" in told.stderr
    assert command(shop, "projections", chosen, "sales", app="apart").returncode == 0
    assert command(shop, *run).returncode == 0
    sell(shop, 6)
    assert command(shop, *run).returncode == 0
    with closing(sqlite3.connect(shop / "views.db")) as connection:
        rows = [n for (n,) in connection.execute("SELECT n FROM sales ORDER BY n")]
    assert rows == ([1, 2, 6] if chosen == "rebuild" else [1, 2, 4, 5, 6])

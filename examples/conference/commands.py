"""The commands of the reference application: `race`, which is also what it does without a command, and `organiser`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import cyclopts
from rich.console import Console

from examples.conference.organiser import insight
from examples.conference.race import STORE, Race, register
from examples.conference.report import show, watch
from sacho import SachoError

WIDTH_OF_PIPES = 120
HowMany = Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))]

app = cyclopts.App(name="conference", help="Conference management, built on Sacho.")


@app.default
@app.command
def race(*, store: str | None = None, json: bool = False, registrants: HowMany = 200) -> int:
    """Let registrants race for the seats of one conference, from threads and processes, and check the outcome.

    Parameters
    ----------
    store
        URL of the event store to use, such as sqlite:///race.db or a postgresql:// one; a file of its own in a temporary folder if left out.
    json
        Print the result as one JSON object, for programs.
    registrants
        How many people want seats.

    """
    with tempfile.TemporaryDirectory(prefix="sacho-demo-") as folder:
        url = store or f"sqlite:///{Path(folder, 'conference.db')}"
        console = Console(quiet=json, width=None if sys.stdout.isatty() else WIDTH_OF_PIPES)
        one = Race(url, registrants)
        result = watch(one, console)
        if json:
            print(result.as_json())
        else:
            show(one, result, console)
        return 0 if result.is_sound else 1


@app.command
def organiser(store: str) -> int:
    """Show what the organiser learns of each conference from its history: funnel, sales, busiest minutes.

    Parameters
    ----------
    store
        URL of the event store.

    """
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_PIPES)
    if not insight(store, console):
        console.print("there is no conference in this log")
    return 0


@app.command(show=False)
def registrants(conference_id: str, first: int, last: int) -> int:
    """Be one of the processes of a race: the registrants from `first` up to, not including, `last`."""
    register(os.environ[STORE], conference_id, range(first, last))
    return 0


def main() -> None:
    """Run the command line; end with the exit code."""
    try:
        code = app(sys.argv[1:], result_action="return_value")
    except SachoError as error:
        print(f"conference: error: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code if isinstance(code, int) else 0)

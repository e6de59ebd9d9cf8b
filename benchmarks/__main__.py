"""`python -m benchmarks`: measure, show a table, write JSON. A timing never decides the exit code; a failure does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.types import ExistingDirectory
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.benchmark import Benchmark
from benchmarks.harness import run, steps
from benchmarks.processes import leave_on_sigterm
from benchmarks.reporting import show, show_list
from benchmarks.results import Run
from benchmarks.rows import ALL

ROUNDS = 5

app = App(name="benchmarks", version_flags=(), help="Sacho beside its peers and the raw floors, in turn, in one run.")


@app.default
def main(
    *,
    only: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (),
    rounds: int | None = None,
    quick: Annotated[bool, Parameter(negative=())] = False,
    json: Path | None = None,
    directory: ExistingDirectory | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
) -> int:
    """Run the benchmarks.

    Parameters
    ----------
    only
        Names of benchmarks (see --list); all if left out.
    rounds
        How many rounds are counted, beside the one that warms up: 5, or 1 with --quick.
    quick
        Small counts, to see in under a minute that everything runs.
    json
        A file to write all figures to.
    directory
        Where the temporary files go: the disk that is measured. The system's place for them if left out.
    list_
        Show the benchmarks and end.
    """
    console = Console(width=None if sys.stdout.isatty() else 130)
    if list_:
        show_list(ALL, console)
        return 0
    rounds = rounds if rounds is not None else 1 if quick else ROUNDS
    if mistake := _mistake(only, rounds, json):
        print(mistake, file=sys.stderr)
        return 2
    leave_on_sigterm()
    chosen = [benchmark for benchmark in ALL if not only or benchmark.name in only]
    result = _run(chosen, rounds, quick=quick, directory=directory)
    show(result, console)
    if json is not None:
        result.save(json)
    return 1 if result.failed else 0


def _mistake(only: tuple[str, ...], rounds: int, json: Path | None) -> str | None:
    """Return what is wrong with the command line, before minutes are spent on it."""
    unknown = set(only) - {benchmark.name for benchmark in ALL}
    if unknown:
        return f"unknown benchmarks: {', '.join(sorted(unknown))}; see --list"
    if rounds < 1:
        return "--rounds is at least 1"
    if json is not None and not json.absolute().parent.is_dir():
        return f"{json}: its folder does not exist"
    return None


def _run(chosen: list[Benchmark], rounds: int, *, quick: bool, directory: Path | None) -> Run:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("starting", total=steps(chosen, rounds))

        def tell(what: str) -> None:
            progress.update(bar, description=what, advance=1)

        return run(chosen, rounds, quick=quick, directory=directory, tell=tell)


if __name__ == "__main__":
    sys.exit(app(result_action="return_value"))

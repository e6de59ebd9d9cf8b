"""What a run looks like for people: one table, and the lines around it."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.benchmark import Benchmark
from benchmarks.results import Row, Run


def show(run: Run, console: Console) -> None:
    """Print the machine, the rows and what failed."""
    console.print(f"\n[bold]Machine[/] {escape(run.machine.line)}", soft_wrap=True)
    if run.server:
        console.print(f"[bold]Server[/] {escape(run.server)}")
    for name, figure in run.prepared.items():
        console.print(f"[bold]Built[/] {escape(name)}: {_number(figure)} events/s", soft_wrap=True)
    console.print(_table(run))
    for one in run.failed:
        first, *_, last = (one.error or "?").splitlines() * 2
        console.print(f"[bold red]{escape(one.name)} could not be measured:[/] {escape(first)} {escape(last)}")
    bounded = [row for row in run.rows if row.reached is not None]
    reached = sum(1 for row in bounded if row.reached)
    console.print(f"{reached} of {len(bounded)} bounds reached, in {run.seconds:.0f} s. {_caution(run)}")


def show_list(benchmarks: tuple[Benchmark, ...], console: Console) -> None:
    """Print the names for `--only`, each with its sides and rows."""
    table = Table("name", "sides, in turn", "rows")
    for benchmark in benchmarks:
        sides = "\n".join(side.name for side in benchmark.sides)
        rows = "\n".join(f"{one.row}  [dim]{escape(one.bound)}[/]" for one in benchmark.comparisons)
        table.add_row(benchmark.name, sides, rows, end_section=True)
    console.print(table)


def _table(run: Run) -> Table:
    table = Table(title=f"Medians of {run.rounds} round{'s' * (run.rounds > 1)}")
    table.add_column("row", overflow="fold")
    for name in ("ours", "peer", "unit", "ratio (min–max)", "bound", "reached"):
        table.add_column(name, justify="left" if name == "unit" else "right", no_wrap=True)
    for row in run.rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> tuple[str, ...]:
    reached = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[row.reached]
    if row.peer is None:
        spread = f"({_number(row.lowest)}–{_number(row.highest)})"
        return escape(row.row), _number(row.ours), "", row.unit, spread, row.bound, reached
    ratio = f"{row.ratio:.2f} ({row.lowest:.2f}–{row.highest:.2f})"
    return escape(row.row), _number(row.ours), _number(row.peer), row.unit, ratio, row.bound, reached


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}"


def _caution(run: Run) -> str:
    if run.quick:
        return "A quick run shows that everything runs; its figures say nothing."
    return "Ratios are taken within a round; benchmarks/README.md says how to read them."

"""The command that exports: events to a file or folder of files for other tools, or to standard output."""

from __future__ import annotations

import sys
from typing import Annotated, BinaryIO, Final, Literal, cast

from cyclopts import Parameter

from sacho.cli.escaping import visible
from sacho.cli.opening import opened
from sacho.cli.options import DEFAULT_LOG, UNFILTERED, Filters, Log
from sacho.cli.progress import shown
from sacho.cli.showing import say_facts
from sacho.errors import InvalidInput
from sacho.operations import Exported, export_to
from sacho.operations import export as export_all
from sacho.operations.pipeline import silent

STANDARD_OUTPUT: Final = "-"


def _check_no_option(_: object, destination: str) -> None:
    """Tell an option that is not known from `-`, which is a destination."""
    if destination.startswith("-") and destination != STANDARD_OUTPUT:
        raise ValueError(f"{destination} is no option of export; a file of this name is ./{destination}")


def export(
    destination: Annotated[str, Parameter(allow_leading_hyphen=True, validator=_check_no_option)],
    *,
    format: Annotated[
        Literal["parquet", "jsonl", "csv"] | None, Parameter(help="What to write; a file's ending tells it, too.")
    ] = None,
    filters: Filters = UNFILTERED,
    after: Annotated[int, Parameter(help="Only what stands after this position.")] = 0,
    to: Annotated[int | None, Parameter(help="Only up to this position.")] = None,
    log: Log = DEFAULT_LOG,
) -> None:
    """Export events to files for other tools: Parquet, JSON lines, CSV.

    After an interruption run it again: it goes on where it ended. An export into a folder, run again, adds what is new.

    Parameters
    ----------
    destination
        The file to make, such as events.parquet; a folder (history/), for files that later exports add to; or - for
        standard output.
    """
    query, correlation = filters.query, filters.correlation
    out = _standard_output(format) if destination == STANDARD_OUTPUT else None
    with opened(log.store) as store, shown() as progress:
        if out is not None:
            tell = silent if out.isatty() else progress
            export_to(
                store,
                out,
                format=format or "jsonl",
                query=query,
                correlation_id=correlation,
                after=after,
                to=to,
                progress=tell,
            )
            return
        done = export_all(
            store,
            destination,
            format=format,
            query=query,
            correlation_id=correlation,
            after=after,
            to=to,
            progress=progress,
        )
    say_facts(_facts(done), json=log.json)


def _facts(done: Exported) -> dict[str, object]:
    return {
        "destination": str(done.path),
        "format": done.format,
        "log_id": str(done.identity.id),
        "epoch": done.identity.epoch,
        "written": done.written,
        "events": done.events,
        "head": done.head,
        "bytes": done.size,
    }


def _standard_output(format: str | None) -> BinaryIO:
    """Return standard output; a terminal is shown what it would obey, and no Parquet."""
    if not sys.stdout.isatty():
        return sys.stdout.buffer
    if format == "parquet":
        raise InvalidInput("Parquet is not for terminals: name a file, or send standard output into one")
    return cast("BinaryIO", _Terminal())


class _Terminal:
    """Writes lines of text to a terminal, which obeys nothing of them."""

    def write(self, lines: bytes) -> int:
        sys.stdout.buffer.write(b"\n".join(visible(line).encode() for line in lines.decode().split("\n")))
        return len(lines)

    def isatty(self) -> bool:
        return True

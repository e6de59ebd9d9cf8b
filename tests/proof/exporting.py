"""Programs that export, run as processes of their own: `python -m tests.proof.exporting NAME URL ...`."""

from __future__ import annotations

import sys

import sacho
from sacho.operations import Progress, export, exporting
from tests.proof.programs import _kib, acknowledge


def export_in_small_parts(url: str, destination: str, format: str) -> None:
    """Export, a page of a read to a part; acknowledge each step of the way, and how many events there are in the end."""
    exporting.PART_ROWS = 1  # type: ignore[misc]  # so that little has many instants

    def tell(progress: Progress) -> None:
        acknowledge([progress.step, progress.done])

    with sacho.connect(url) as store:
        acknowledge(export(store, destination, format=format, progress=tell).events)


def export_in_little_memory(url: str, destination: str) -> None:
    """Export and tell how many events there were and how much memory was needed above the start, in KiB."""
    with sacho.connect(url) as store:
        for _ in store.read_all(raw=True, limit=100):
            pass
        start = _kib("VmRSS")
        done = export(store, destination)
    acknowledge([done.events, _kib("VmHWM") - start])


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])

"""Programs of the proof of inline views: processes that append, with the view or without."""

from __future__ import annotations

import sys

from sacho.errors import InlineViewMissing
from sacho.storage.port import Storage
from sacho.store.connecting import StoreURL, open_storage
from sacho.testing.conformance.building import noted, writing
from sacho.testing.conformance.inline_views import Totals
from tests.proof.programs import acknowledge


def opened(url: str) -> Storage:
    return open_storage(StoreURL.parse(url))


def append_with_view(url: str, seed: str, each: str) -> None:
    """Append one by one, and acknowledge each."""
    storage = opened(url)
    storage.attach([Totals(storage)])
    for _ in range(int(each)):
        (done,) = storage.write(writing(f"seats-{seed}", noted()))
        acknowledge(done.position)


def append_without_view(url: str, seed: str, each: str) -> None:
    """Append one by one until it is refused; acknowledge how many were accepted."""
    storage = opened(url)
    for number in range(int(each)):
        try:
            storage.write(writing(f"seats-{seed}", noted()))
        except InlineViewMissing:
            acknowledge(number)
            return
    acknowledge(int(each))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])

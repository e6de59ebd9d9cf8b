"""Two neighbours of the application, who have a log of their own and know nothing of it but its public events."""

from __future__ import annotations

from pathlib import Path

from examples.conference.neighbours.accounting import Ledger
from examples.conference.neighbours.notices import Folder, Notices, Postbox
from sacho import EventStore
from sacho.reacting import Application


def neighbours(store: str | EventStore, folder: Path, postbox: Postbox | None = None) -> Application:
    """Return notices and accounting over a log that the public events are relayed to.

    Notices keep their addresses in `folder`, and put e-mails there, unless they have a `postbox`.
    """
    outbox = postbox or Folder(folder / "outbox")
    return Application(store, consumers=[Notices(folder / "addresses", outbox), Ledger])

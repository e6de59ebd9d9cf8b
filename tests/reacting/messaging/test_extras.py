"""What messages need besides Sacho itself is imported where it is used, and named where it is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from sacho import CommandBus
from sacho.errors import MissingExtra
from sacho.reacting import Inbox, JetStreamSource, JetStreamTarget, WebhookTarget
from tests.reacting.conftest import Place

SECRET = "whsec_" + "A" * 32


def test_importing_sacho_imports_no_library_of_messages() -> None:
    program = "import sacho.reacting, sys; print({'nats', 'httpx', 'cloudevents'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("library", "use", "extra"),
    [
        ("nats.aio.client", lambda inbox: JetStreamTarget("nats://localhost", subject="x"), "nats"),
        ("nats.aio.client", lambda inbox: JetStreamSource("nats://localhost", inbox, stream="x", durable="x"), "nats"),
        ("httpx", lambda inbox: WebhookTarget("http://localhost", secret=SECRET), "messages"),
        ("cloudevents.core.bindings.http", lambda inbox: inbox.receive({}, b"{}"), "messages"),
    ],
)
def test_a_library_that_is_missing_is_named_with_what_brings_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, library: str, use: Callable[[Inbox], Any], extra: str
) -> None:
    inbox = Inbox(CommandBus(place.store, []), place.store)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match="pip install") as caught:
        use(inbox)
    assert caught.value.extra == extra

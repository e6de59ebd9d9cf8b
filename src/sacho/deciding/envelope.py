"""What goes through a command bus: the command, with who gave it, how it came, and an id to know it by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

Origin: TypeAlias = Literal["caller", "process", "stored", "inbox"]
"""How a command came: from a caller of the bus, a process manager, the log where it was stored, or an incoming message."""


class Envelope(msgspec.Struct, frozen=True):
    """A command on its way to its handler; steps of the bus take one and return one.

    `id` is what the command is handled once by, `metadata` what its events will carry (JSON values).
    """

    command: Any
    id: str
    actor: str | None = None
    metadata: Mapping[str, Any] = {}
    origin: Origin = "caller"

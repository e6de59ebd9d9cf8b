"""Ids that grow with time: new events stand side by side in the index by id, however large the log is.

Source: RFC 9562, section 5.7 (UUIDv7), with sub-millisecond precision in `rand_a` (its method 3).
"""

from __future__ import annotations

import os
import time
from hashlib import sha256
from random import Random
from struct import Struct
from uuid import UUID

_VERSION_7 = 0x7000
_VARIANT = 0x80

_pack = Struct(">QQ").pack
_random = Random()
os.register_at_fork(after_in_child=_random.seed)


def new_id() -> bytes:
    """Return the 16 bytes of a new UUIDv7.

    Its 62 random bits come from a generator that the system's randomness has seeded, anew after a fork: asking the
    system for each id would hand the interpreter's lock to another thread each time.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    time_part = milliseconds << 16 | _VERSION_7 | nanoseconds * 4_096 // 1_000_000
    return _pack(time_part, _VARIANT << 56 | _random.getrandbits(62))


def uuid7() -> UUID:
    """Return a new UUIDv7."""
    return UUID(bytes=new_id())


def derived_id(source: UUID | str, *names: str) -> bytes:
    """Return the 16 bytes of the one id that belongs to `source` and `names`, the same at any time and place.

    Made from a UUIDv7 it keeps that id's time, so that it stands beside new ids in the index; otherwise it is a
    UUIDv8 of their digest.
    """
    hashed = bytearray(sha256("\x00".join((str(source), *names)).encode()).digest()[:16])
    hashed[8] = _VARIANT | (hashed[8] & 0x3F)
    if isinstance(source, UUID) and source.version == 7:
        hashed[:6] = source.bytes[:6]
        hashed[6] = 0x70 | (hashed[6] & 0x0F)
    else:
        hashed[6] = 0x80 | (hashed[6] & 0x0F)
    return bytes(hashed)

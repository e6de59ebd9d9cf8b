"""Ids that grow with time: new events stand side by side in the index by id, however large the log is.

Source: RFC 9562, section 5.7 (UUIDv7), with sub-millisecond precision in `rand_a` (its method 3).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256
from random import Random
from struct import Struct
from uuid import UUID

_VERSION_7 = 0x7000
_VARIANT = 0x80
_UUID_7 = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")

_pack = Struct(">QQ").pack
_random = Random()
os.register_at_fork(after_in_child=_random.seed)
_source: ContextVar[tuple[Callable[[], int], Random]] = ContextVar("sacho_ids", default=(time.time_ns, _random))
_current_source = _source.get


def new_id() -> bytes:
    """Return the 16 bytes of a new UUIDv7.

    Its 62 random bits come from a generator that the system's randomness has seeded, anew after a fork: asking the
    system for each id would hand the interpreter's lock to another thread each time.
    """
    clock, random = _current_source()
    milliseconds, nanoseconds = divmod(clock(), 1_000_000)
    time_part = milliseconds << 16 | _VERSION_7 | nanoseconds * 4_096 // 1_000_000
    return _pack(time_part, _VARIANT << 56 | random.getrandbits(62))


@contextmanager
def ids_from(clock: Callable[[], int], random: Random) -> Iterator[None]:
    """Make new ids of this clock (nanoseconds since 1970) and this randomness within the block, in this thread or task."""
    token = _source.set((clock, random))
    try:
        yield
    finally:
        _source.reset(token)


def new_ids(count: int) -> Iterator[bytes]:
    """Return an iterator over so many new ids of one moment, which follow on each other (RFC 9562, section 6.2)."""
    time_part, random_part = divmod(int.from_bytes(new_id()), 1 << 64)
    start = random_part & ~(1 << 61)  # room to count up
    return iter([_pack(time_part, start + number) for number in range(count)])


def uuid7() -> UUID:
    """Return a new UUIDv7."""
    return UUID(bytes=new_id())


def new_id_text() -> str:
    """Return a new UUIDv7 in its text form."""
    digits = new_id().hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def derived_id(source: str, *names: str) -> bytes:
    """Return the 16 bytes of the one id that belongs to `source` and `names`, the same at any time and place.

    Made from the text of a UUIDv7 it keeps that id's time, so that it stands beside new ids in the index; otherwise it
    is a UUIDv8 of their digest.
    """
    hashed = bytearray(sha256("\x00".join((source, *names)).encode()).digest()[:16])
    hashed[8] = _VARIANT | (hashed[8] & 0x3F)
    if _UUID_7.fullmatch(source):
        hashed[:6] = bytes.fromhex(source[:8] + source[9:13])
        hashed[6] = 0x70 | (hashed[6] & 0x0F)
    else:
        hashed[6] = 0x80 | (hashed[6] & 0x0F)
    return bytes(hashed)

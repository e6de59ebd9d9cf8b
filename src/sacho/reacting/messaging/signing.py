"""Signing of webhooks, as the Standard Webhooks specification says (standardwebhooks.com): HMAC-SHA256, symmetric."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from typing import Final

from sacho.errors import InvalidSignature, InvalidTarget

PREFIX: Final = "whsec_"
TOLERANCE_SECONDS: Final = 300
FEWEST_BYTES: Final = 16
MOST_DIGITS: Final = 12


class Secrets:
    """The keys that messages are signed by. Nothing that is shown has them."""

    def __init__(self, secrets: str | Sequence[str]) -> None:
        self._keys = tuple(map(_key, (secrets,) if isinstance(secrets, str) else secrets or ()))
        if not self._keys:
            raise InvalidTarget("no secret was given")

    def signature(self, id: str, timestamp: int, body: bytes) -> str:
        """Return the signatures of a message by each key, as the header has them."""
        return " ".join(f"v1,{one}" for one in self.digests(id, str(timestamp), body))

    def digests(self, id: str, timestamp: str, body: bytes) -> list[str]:
        """Return the digest by each key."""
        signed = b".".join((id.encode(), timestamp.encode(), body))
        return [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in self._keys]

    def __repr__(self) -> str:
        return f"<{len(self._keys)} secrets>"

    def __reduce__(self) -> str:
        raise TypeError("secrets are not pickled")


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> None:
    """Raise InvalidSignature unless a webhook was signed by a secret, and not longer ago (or ahead) than `tolerance` seconds.

    `body` is what came, byte for byte, before anything is read of it. With several secrets any of them may have signed,
    so that one can be replaced by another. `now` is in seconds since 1970, the system's clock if left out. Comparing takes
    the same time for any signature. Raises InvalidTarget for a secret that is none.
    """
    secrets = Secrets(secret)
    given = {name.lower(): value for name, value in headers.items()}
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    missing = [name for name in names if not given.get(name)]
    if missing:
        raise InvalidSignature(f"the header {missing[0]} is missing")
    id, timestamp, signatures = (given[name] for name in names)
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= MOST_DIGITS):
        raise InvalidSignature("webhook-timestamp is no number of seconds")
    age = (time.time() if now is None else now) - int(timestamp)
    if abs(age) > tolerance:
        raise InvalidSignature(
            f"it was signed {abs(age):.0f} s {'ago' if age > 0 else 'ahead'}, and {tolerance:g} are allowed"
        )
    found = [one.partition(",")[2] for one in signatures.split(" ") if one.startswith("v1,")]
    holds = False
    for digest in secrets.digests(id, timestamp, body):
        for one in found:
            holds |= hmac.compare_digest(digest.encode(), one.encode("utf-8", "replace"))
    if not holds:
        raise InvalidSignature("no signature is by this secret")


def _key(secret: object) -> bytes:
    """Return the bytes of a secret: base64, with `whsec_` before it or without."""
    wrong = 'a secret is base64 of at least 16 random bytes, with "whsec_" before it'
    if not isinstance(secret, str):
        raise InvalidTarget(wrong)
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidTarget(wrong) from None  # the cause may show it
    if len(key) < FEWEST_BYTES:
        raise InvalidTarget(wrong)
    return key

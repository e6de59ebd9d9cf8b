"""Making text safe to show: what stands in events, names and messages is shown, never obeyed by a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Control characters (C0, DEL, C1), marks that turn the direction of text, line separators, broken Unicode.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_CREDENTIALS = re.compile(r"://\S*@")


def visible(text: str) -> str:
    r"""Return text with the characters that a terminal would obey written out as `\uXXXX`.

    Within JSON that means the same value, so lines of JSON may be treated like any other text.
    """
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def without_credentials(message: str) -> str:
    """Return a message without what stands before an `@` in the URLs in it."""
    return _CREDENTIALS.sub("://", message)


def without_urls(message: str, arguments: Iterable[str]) -> str:
    """Return a message without the URLs that were given as arguments, but for their schemes: they may have secrets."""
    for argument in arguments:
        _, mark, rest = argument.partition("://")
        if mark and rest:
            message = message.replace(rest, "…")
    return message

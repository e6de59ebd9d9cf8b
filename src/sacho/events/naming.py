"""The rules for names: streams, categories, types and tags. One place says what is allowed, and refuses the rest."""

from __future__ import annotations

import re

from sacho.errors import InvalidName

MAX_NAME_BYTES = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def checked_name(kind: str, name: object) -> str:
    """Return `name` if it is 1 to 255 bytes of UTF-8 without control characters, else raise InvalidName."""
    if type(name) is str and 0 < len(name) <= MAX_NAME_BYTES and name.isascii() and name.isprintable():
        return name  # the common case, at less cost than what follows
    if not isinstance(name, str):
        raise InvalidName(kind, name, "is not text")
    if not name:
        raise InvalidName(kind, name, "is empty")
    if _CONTROL.search(name):
        raise InvalidName(kind, name, "has control characters or broken Unicode; use printable text")
    if (size := len(name.encode())) > MAX_NAME_BYTES:
        raise InvalidName(kind, name, f"has {size} bytes; {MAX_NAME_BYTES} are allowed")
    return name


def checked_tag(tag: object) -> str:
    """Return `tag` if it is `key:value` with a key and within the rules for names, else raise InvalidName."""
    text = checked_name("tag", tag)
    if text.find(":") < 1:
        raise InvalidName("tag", tag, "has no name; write it as key:value")
    return text


def stream_id(category: str, key: object) -> str:
    """Build the stream id `category-key`.

    The category is what stands before the first `-`, so it may not have one; the key may.
    Raises InvalidName for a category with `-` and for names out of rules.
    """
    if "-" in checked_name("category", category):
        raise InvalidName("category", category, "has a '-', which ends the category in a stream id")
    if not str(key):
        raise InvalidName("stream key", key, "is empty")
    return checked_name("stream id", f"{category}-{key}")


def category_of(stream: str) -> str:
    """Return the category of a stream id: all before the first `-`, or the whole id where there is none."""
    return stream.partition("-")[0]

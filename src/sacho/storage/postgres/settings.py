"""What a postgresql:// URL says: the server, the schema of the log, and how the engine goes about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote

import msgspec

from sacho.errors import InvalidURL

DEFAULT_TIMEOUT: Final = 30.0
DEFAULT_SCHEMA: Final = "sacho"
DEFAULT_POOL: Final = 8
JOINED_IDLE_SECONDS: Final = 5.0

_SCHEMA = re.compile("[a-z_][a-z0-9_]{0,47}")
_SYSTEM_SCHEMAS = ("pg_", "information_schema", "public")
_OWN = frozenset({"schema", "timeout", "pool", "migrate", "durability", "joined_timeout"})
_CONNECTION: Final[Mapping[str, str]] = {
    "application_name": "sacho",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "target_session_attrs": "primary",
}
"""What is said to the server unless the URL says otherwise. Only a primary tells readers what is in flight."""


class PostgresSettings(msgspec.Struct, frozen=True):
    """`parameters` are libpq's connection parameters, password included: never to be shown. `shown` says where the log is."""

    parameters: dict[str, str]
    shown: str
    schema: str = DEFAULT_SCHEMA
    timeout: float = DEFAULT_TIMEOUT
    pool: int = DEFAULT_POOL
    may_migrate: bool = True
    is_relaxed: bool = False
    joined_timeout: float = JOINED_IDLE_SECONDS

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.shown}>"

    @classmethod
    def of(cls, authority: str, path: str, options: str) -> PostgresSettings:
        """Read the parts of `postgresql://authority/path?options`. Raises InvalidURL, which shows no secret."""
        given = dict(parse_qsl(options, keep_blank_values=True))
        own = {name: given.pop(name) for name in _OWN & given.keys()}
        parameters = {**_CONNECTION, **given, **_server(authority)}
        if database := path.removeprefix("/"):
            parameters["dbname"] = database
        _check(parameters)
        schema = _schema(own.get("schema", DEFAULT_SCHEMA))
        return cls(
            parameters,
            _shown(parameters, schema),
            schema,
            _number("timeout", own.get("timeout", "30"), least=0.001),
            _count("pool", own.get("pool", str(DEFAULT_POOL))),
            _choice("migrate", own.get("migrate", "yes"), ("yes", "no")) == "yes",
            _choice("durability", own.get("durability", "strict"), ("strict", "relaxed")) == "relaxed",
            _number("joined_timeout", own.get("joined_timeout", "5"), least=0.001),
        )


def _server(authority: str) -> dict[str, str]:
    """Return user, password, hosts and ports of `user:password@host:port,host:port`."""
    login, _, places = authority.rpartition("@")
    user, _, password = login.partition(":")
    found = {"user": unquote(user), "password": unquote(password)}
    split = [_place(place) for place in places.split(",")] if places else []
    if split:
        found["host"] = ",".join(host for host, _ in split)
        found["port"] = ",".join(port for _, port in split)
    return {name: value for name, value in found.items() if value.strip(",")}


def _place(place: str) -> tuple[str, str]:
    """Return host and port; the host of version 6 of the protocol stands in brackets."""
    host, mark, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    if not mark:
        host, port = place, ""
    if (port and not port.isdecimal()) or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise InvalidURL(
            "the port in the postgresql URL is no number; a ':' or '@' in a password is written %3A or %40"
        )
    return unquote(host.strip("[]")), port


def _check(parameters: dict[str, str]) -> None:
    """Raise InvalidURL for a parameter that libpq does not know, by name only."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    for name, value in parameters.items():
        try:
            make_conninfo(**{name: value})
        except psycopg.Error:
            raise InvalidURL(
                f"unknown option {name!r} in a postgresql URL; known are {', '.join(sorted(_OWN))} and the connection "
                "parameters of libpq, such as sslmode"
            ) from None


def _shown(parameters: Mapping[str, str], schema: str) -> str:
    host = parameters.get("host", "")
    where = host if host.startswith("/") or not host else f"{host}{_ports(parameters)}"
    return f"database {parameters.get('dbname', 'of the login')!r} at {where or 'the local socket'}, schema {schema!r}"


def _ports(parameters: Mapping[str, str]) -> str:
    port = parameters.get("port", "")
    return f":{port}" if port.isdecimal() else ""


def _schema(name: str) -> str:
    if not _SCHEMA.fullmatch(name) or name.startswith(_SYSTEM_SCHEMAS):
        raise InvalidURL(
            f"schema={name!r} cannot hold a log: use 1 to 48 of a–z, 0–9 and _, none of PostgreSQL's own, not public"
        )
    return name


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise InvalidURL(f"{name}={value!r} is none of {', '.join(choices)}")
    return value


def _number(name: str, value: str, *, least: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not least <= number < 1e6:
        raise InvalidURL(f"{name}={value!r} is no number from {least:g}")
    return number


def _count(name: str, value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) < 10_000:
        raise InvalidURL(f"{name}={value!r} is no whole number from 1")
    return int(value)

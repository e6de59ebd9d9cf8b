"""The tables in which consumers keep where they are. They stand in the views' database, so that one commit covers both."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, Table, Text

metadata = MetaData()


def _of_a_build() -> list[Column[Any]]:
    """Return the columns that name a build, by which each row begins."""
    return [
        Column("name", Text, primary_key=True),
        Column("version", Integer, primary_key=True),
        Column("build", Integer, primary_key=True),
    ]


generations = Table(
    "sacho_consumers",
    metadata,
    *_of_a_build(),
    Column("state", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("log_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("partitions", Integer, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("begun_at", Double, nullable=False),
    Column("tables", Text, nullable=False),
)
"""What a consumer has been built as: each version, each time that a version was built again, and the tables of that (JSON)."""

partitions = Table(
    "sacho_partitions",
    metadata,
    *_of_a_build(),
    Column("partition", Integer, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("handled", BigInteger, nullable=False),
    Column("moved_at", Double, nullable=False),
    Column("rate", Double, nullable=False),
    Column("speed", Double, nullable=False),
    Column("owner", Text),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("stopped_at", BigInteger),
    Column("error", Text),
)
"""The checkpoint of each partition, and who holds its lease: a token that rises with each new holder fences the old one off."""

workers = Table(
    "sacho_workers",
    metadata,
    *_of_a_build(),
    Column("worker", Text, primary_key=True),
    Column("joined_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
)
"""Who works on a consumer now, so that each takes its share of the partitions: where they do not part evenly, who came first has one more."""

parked = Table(
    "sacho_parked",
    metadata,
    *_of_a_build(),
    Column("position", BigInteger, primary_key=True),
    Column("partition", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("stream", Text),
    Column("error", Text),
    Column("traceback", Text),
    Column("attempts", Integer, nullable=False),
    Column("parked_at", Double, nullable=False),
    Column("action", Text),
)
"""Events that could not be handled (with an error), and those of their keys that wait behind them (without)."""
Index("sacho_parked_keys", parked.c.name, parked.c.version, parked.c.build, parked.c.key)

handled = Table(
    "sacho_handled",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("handled_at", Double, nullable=False),
)
"""Ids of messages whose effects are in this database."""

format_stamp = Table("sacho_views_format", metadata, Column("format", Integer, primary_key=True, autoincrement=False))
"""Which format of these tables a database has, in one row."""
FORMAT = 1

BUILDING = "building"
SWITCHING = "switching"
"""Being built, and told to take over, whatever the class says of that."""
SERVING = "serving"
STANDBY = "standby"
IN_THE_MAKING = frozenset({BUILDING, SWITCHING})


class Generation(NamedTuple):
    """One build of one version of a consumer. `str()` of it names it for people: `seats@2`, or `seats@2.1` if built again."""

    name: str
    version: int
    build: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}{f'.{self.build}' if self.build else ''}"

    @property
    def suffix(self) -> str:
        """What stands behind the names of its tables."""
        return f"_v{self.version}{f'_{self.build}' if self.build else ''}"

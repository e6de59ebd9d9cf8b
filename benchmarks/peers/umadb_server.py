"""UmaDB: its server from the wheel on loopback, durable as it comes, and its Python client.

Events are msgspec structs, encoded and decoded inside the timing. An event carries one tag, its entity, because UmaDB has
no streams and would not find it otherwise. Each thread uses the one client, which was faster than a client for each.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import msgspec
from umadb import Client, Event

from benchmarks.domain import Reservation, conference_id, going_round, reservations
from benchmarks.job import Job
from benchmarks.processes import running
from benchmarks.timing import seconds, seconds_in_threads

SERVE = "from umadb.umadb_server_cli import main; main()"
STARTS_WITHIN = 20.0

_encode = msgspec.json.Encoder().encode


class SeatsReserved(msgspec.Struct, frozen=True):
    """The typed event."""

    conference_id: str
    reservation_id: str
    seat_type: str
    seats: int
    note: str


def sixteen_threads(job: Job) -> float:
    """Events a second: 16 threads, one event with one tag and no id per append."""
    each = job.count(500, 20)
    with _server(job.directory) as client:

        def append(caller: int, wanted: Sequence[Reservation]) -> None:
            tags = [f"conference:{conference_id(caller)}"]
            for fields in wanted:
                client.append([Event("SeatsReserved", _encode(SeatsReserved(*fields)), tags)])

        wanted = [reservations(caller, range(each)) for caller in range(16)]
        seconds_in_threads(16, lambda caller: append(caller, wanted[caller][:20]))
        return 16 * each / seconds_in_threads(16, lambda caller: append(caller, wanted[caller]))


def append_hundred(job: Job) -> float:
    """Events a second: one thread, 100 events per append, each with an id and one tag."""
    appends = job.count(200, 10)
    with _server(job.directory) as client:
        _append_hundreds(client, going_round(10, 100))
        wanted = going_round(appends, 100)
        return 100 * appends / seconds(lambda: _append_hundreds(client, wanted))


def _append_hundreds(client: Client, wanted: Sequence[Sequence[Reservation]]) -> None:
    for hundred in wanted:
        client.append([_tagged(fields) for fields in hundred])


def _tagged(wanted: Reservation) -> Event:
    event = SeatsReserved(*wanted)
    return Event("SeatsReserved", _encode(event), [f"conference:{event.conference_id}"], uuid4())


@contextmanager
def _server(directory: Path) -> Iterator[Client]:
    """Run a server on a free port with a fresh database; end it, and only it, by its process."""
    address = f"127.0.0.1:{_free_port()}"
    command = [sys.executable, "-c", SERVE, "--listen", address, "--db-path", str(directory / "uma.db")]
    with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield _connected(address, process)


def _connected(address: str, process: subprocess.Popen[bytes]) -> Client:
    until = time.monotonic() + STARTS_WITHIN
    while process.poll() is None and time.monotonic() < until:
        with suppress(Exception):  # the client's errors while nobody listens yet are of several kinds
            client = Client(f"http://{address}")
            client.head()
            return client
        time.sleep(0.05)
    raise RuntimeError(f"the UmaDB server did not answer on {address} (exit code {process.poll()})")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port

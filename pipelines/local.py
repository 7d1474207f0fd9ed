"""One machine's Prefect: a server on 127.0.0.1 and a worker, with everything they write under ``.prefect/``."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import psutil

from fieldmark.core.errors import FieldmarkError
from pipelines import leash

#: Where this code lies: the worker loads the flow from here, whatever project it is told to reproduce.
CODE = Path(__file__).parent.parent
POOL = "fieldmark"
HEARTBEAT = 30  # seconds between a flow run's signs of life; Prefect's least


class Server(NamedTuple):
    """A running server."""

    url: str
    home: Path
    ours: bool  # or else someone else's, with a worker of its own

    @property
    def environment(self) -> dict[str, str]:
        """The environment of everything that talks to this server."""
        return {
            **os.environ,
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT),
            "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": "pipelines.console.Console",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PYTHONPATH": os.pathsep.join([str(CODE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }

    def prefect(self, *words: str, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        """Start a ``prefect`` command that ends when this process does."""
        command = [sys.executable, leash.__file__, sys.executable, "-m", "prefect", *words]
        return subprocess.Popen(
            command,
            cwd=CODE,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log and subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def server(home: Path, port: int = 0) -> Iterator[Server]:
    """Yield the server whose database is in ``home``: the one that runs, or else a new one, stopped in the end.

    Args:
        home: folder of the database, made if need be.
        port: where a new one listens; 0 picks a free port.

    Raises:
        FieldmarkError: it did not start.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "server.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two servers on one database would each run the schedule
        except BlockingIOError:
            lock.seek(0)
            yield Server(lock.read(), home, ours=False)
            return
        new = Server(f"http://127.0.0.1:{port or free_port()}", home, ours=True)
        with (home / "server.log").open("ab") as log:
            process = new.prefect(
                "server", "start", "--host", "127.0.0.1", "--port", new.url.rpartition(":")[2], log=log
            )
        try:
            _wait_for(new, process)
            lock.truncate(0)
            lock.write(new.url)
            lock.flush()
            yield new
        finally:
            stop(relatives(process))


class Worker:
    """A process worker that is started again when it dies."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seen: set[psutil.Process] = set()  # a killed worker's flow runs have no parent to find them by
        self._process = self._start()

    def tend(self) -> None:
        """Start the worker again if it is gone; call this now and then."""
        self._seen = {process for process in self._seen if process.is_running()} | relatives(self._process)
        if self._process.poll() is not None:
            print("the worker is gone: starting another", flush=True)
            self._process = self._start()

    def stop(self) -> None:
        """Stop the worker and every flow run it started."""
        stop(self._seen | relatives(self._process))

    def _start(self) -> subprocess.Popen[bytes]:
        return self._server.prefect("worker", "start", "--pool", POOL, "--type", "process")


def relatives(process: subprocess.Popen[bytes]) -> set[psutil.Process]:
    """Return a process and all its descendants."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        return {parent, *parent.children(recursive=True)}
    return set()


def stop(processes: set[psutil.Process], patience: float = 5) -> None:
    """Ask ``processes`` to end; after ``patience`` seconds, end them."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
    for process in psutil.wait_procs(processes, timeout=patience)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(server: Server, process: subprocess.Popen[bytes], patience: float = 120) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/api/health", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    raise FieldmarkError(
        f"Prefect's server did not start at {server.url} (is the port taken?): see {server.home / 'server.log'}."
    )

"""One machine's Prefect: a server on 127.0.0.1 and a worker, with everything they write under ``.prefect/``."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import IO, NamedTuple

import psutil

from fieldmark.core.errors import FieldmarkError
from pipelines import leash

#: Where this code lies: the worker loads the flow from here, whatever project it is told to reproduce.
CODE = Path(__file__).parent.parent
POOL = "fieldmark"
HEARTBEAT = 30  # seconds between a flow run's signs of life; Prefect's least
PATIENCE = 120.0  # seconds that a server has to start
LOCK = "server.lock"  # in a server's home: held while it runs, and its URL once others may use it


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

    def answers(self) -> bool:
        """Tell whether it can be talked to."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/health", timeout=5):
                return True
        except (OSError, HTTPException):
            return False

    def announce(self) -> None:
        """Let others use it, who wait until then: call this once it knows what it is asked for."""
        (self.home / LOCK).write_text(self.url)

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
    """Yield the server whose database is in ``home``: the one announced, or else a new one, stopped in the end.

    Args:
        home: folder of the database, made if need be.
        port: where a new one listens; 0 picks a free port.

    Raises:
        FieldmarkError: the port is taken, or it did not start.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("a+") as lock:
        if running := _others(lock, home):
            yield running
            return
        port = free_port(port)
        new = Server(f"http://127.0.0.1:{port}", home, ours=True)
        with (home / "server.log").open("ab") as log:
            process = new.prefect("server", "start", "--host", "127.0.0.1", "--port", str(port), log=log)
        try:
            _wait_for(new, process, port)
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


def free_port(port: int = 0) -> int:
    """Return ``port`` of 127.0.0.1, or any for 0.

    Raises:
        FieldmarkError: somebody listens there, or it is no port for this user.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # who has stopped listening is not in the way
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise FieldmarkError(
                f"Prefect's server can't listen on port {port} of 127.0.0.1 ({error}): stop what listens there, "
                f"another project's server perhaps, or take another port: `python -m pipelines.serve --port N`."
            ) from None
        return int(probe.getsockname()[1])


def _others(lock: IO[str], home: Path) -> Server | None:
    """Return the server of whoever holds ``lock``, once it is announced; None if this process holds it from now on."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two servers on one database would each run the schedule
        except BlockingIOError:
            lock.seek(0)
            url = lock.read()
            if url and (running := Server(url, home, ours=False)).answers():
                return running
            time.sleep(0.2)
        else:
            lock.truncate(0)  # what the last run left there
            return None
    raise FieldmarkError(
        f"another process keeps {home / LOCK}, but no server of its answered within {PATIENCE:.0f} s: "
        f"see {home / 'server.log'}, or stop that process."
    )


def _wait_for(server: Server, process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if server.answers() and _listens(process, port):
            return
        time.sleep(0.2)
    raise FieldmarkError(
        f"Prefect's server did not start at {server.url} (is the port taken?): see {server.home / 'server.log'}."
    )


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Tell whether ``process`` or a descendant listens on ``port``: another may have been faster and answer there."""
    with suppress(psutil.NoSuchProcess):
        ends = [end for member in relatives(process) for end in member.net_connections("tcp")]
        return any(end.status == psutil.CONN_LISTEN and end.laddr.port == port for end in ends)
    return False

"""Where MLflow keeps its records, and whether it is ready: all without importing MLflow, so in milliseconds."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from fieldmark.core.errors import FieldmarkError, TryAgainError

PATIENCE = 15  # seconds to wait for a locked database or a silent server
SQLITE = "sqlite:///"


def address(root: Path) -> str:
    """Return the tracking URI: ``MLFLOW_TRACKING_URI`` if set, else ``<root>/mlruns/mlflow.db``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{root.resolve() / 'mlruns' / 'mlflow.db'}"


def file(root: Path) -> Path | None:
    """Return the SQLite file of the store; None when a server keeps it."""
    uri = address(root)
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def prepare(root: Path) -> str:
    """Make the store ready for parallel use and return its URI; milliseconds when it already is.

    A fresh or older database is migrated once, under a file lock: two processes racing MLflow's first migration crash.

    Raises:
        FieldmarkError: the database is locked or broken, or the server does not answer.
    """
    path = file(root)
    if path is not None and not migrated(path):
        with locked(lock_file(root)):
            if not migrated(path):
                _migrate(path, probe(root))
    return probe(root)


def probe(root: Path) -> str:
    """Return the URI once the store answers; changes nothing.

    Raises:
        FieldmarkError: the database is locked or broken, or the server does not answer.
    """
    uri, path = address(root), file(root)
    if path is not None and path.exists():
        _probe_database(path)
    if uri.startswith(("http://", "https://")):
        _probe_server(uri)
    return uri


def migrated(file: Path) -> bool:
    """Say whether the installed MLflow has already migrated the database; read from a note beside it."""
    note = _note(file)
    return file.exists() and note.exists() and note.read_text() == version("mlflow")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; the system frees it when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def lock_file(root: Path) -> Path:
    """Return the file whose lock guards what must happen once."""
    return (file(root) or root / "mlruns" / "mlflow.db").with_suffix(".db.lock")


def _note(file: Path) -> Path:
    return file.with_name(file.name + ".version")


def _migrate(file: Path, uri: str) -> None:
    """Let MLflow create or upgrade the tables, in its own process so that ours stays light."""
    command = [sys.executable, "-W", "ignore", "-m", "mlflow", "db", "upgrade", uri]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise FieldmarkError(f"MLflow could not prepare {file}: {last}; move the file away to start a fresh one.")
    _note(file).write_text(version("mlflow"))


def _probe_database(file: Path) -> None:
    """Take and give back the write lock: MLflow itself would retry for minutes with a stack trace for each attempt."""
    try:
        connection = sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise TryAgainError(
            f"MLflow's database {file} can't be used ({error}): end the program that holds it "
            "(a file viewer, a backup, a stopped run), then run the command again."
        ) from error


def _probe_server(uri: str) -> None:
    """Ask the server for its health until it answers or patience ends."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # it answers: what it allows is for the calls themselves to find out
        except OSError as error:
            if time.monotonic() + 2 > until:
                raise unreachable(uri, str(getattr(error, "reason", error))) from error
            time.sleep(2)


def unreachable(uri: str, reason: str) -> TryAgainError:
    """Return the sentence for a store that does not answer."""
    return TryAgainError(
        f"MLflow at {uri} does not answer ({reason}): start it or free it, or unset MLFLOW_TRACKING_URI "
        "to use the project's own database, then run the command again."
    )

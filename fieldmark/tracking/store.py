"""The MLflow store of a project: where it is, that it is ready, and one sentence when it is not."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fieldmark.core.errors import FieldmarkError

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE = 15  # seconds to wait for a locked database or a silent server
SQLITE = "sqlite:///"
#: How MLflow behaves where the user's environment says nothing: it gives up in seconds, not minutes, and is brief.
MANNERS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class Store(NamedTuple):
    """An open store; all calls go through ``client`` with explicit run ids, so MLFLOW_RUN_ID can't leak into a run."""

    client: MlflowClient
    experiment_id: str
    uri: str
    lock: Path


def address(root: Path) -> str:
    """Return the tracking URI: ``MLFLOW_TRACKING_URI`` if set, else ``<root>/mlflow.db``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{root.resolve() / 'mlflow.db'}"


def database(root: Path) -> Path | None:
    """Return the SQLite file of the store; None when a server keeps it."""
    uri = address(root)
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def prepare(root: Path) -> str:
    """Make the store ready for parallel use and return its URI; milliseconds when it already is.

    A fresh or older database is migrated once, under a file lock: two processes racing MLflow's first migration crash.

    Raises:
        FieldmarkError: the database is locked or broken, or the server does not answer.
    """
    uri, file = address(root), database(root)
    if file is None:
        if uri.startswith(("http://", "https://")):
            _probe_server(uri)
        return uri
    if file.exists():
        _probe_database(file)
    if not migrated(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(_lock(root)):
            if not migrated(file):
                _migrate(file, uri)
    return uri


def migrated(file: Path) -> bool:
    """Say whether the installed MLflow has already migrated the database; read from a note beside it."""
    note = _note(file)
    return file.exists() and note.exists() and note.read_text() == version("mlflow")


@contextmanager
def connect(root: Path, experiment: str = "fieldmark") -> Iterator[Store]:
    """Yield the project's store; inside the block a locked database or a silent server is a ``FieldmarkError``."""
    uri = prepare(root)
    lock, artifacts = _lock(root), None if database(root) is None else root.resolve() / "mlartifacts"
    for name, value in MANNERS.items():
        os.environ.setdefault(name, value)
    with _everywhere(uri), _one_sentence(uri):
        client = _client(uri)
        with locked(lock):
            experiment_id = _experiment(client, experiment, artifacts)
        yield Store(client, experiment_id, uri, lock)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what MLflow 3.17 says about its own code when it is first imported: no one here can act on it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")  # of SQLAlchemy 2.1
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")  # its own pydantic classes
        yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; the system frees it when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _lock(root: Path) -> Path:
    return (database(root) or root / "mlflow.db").with_suffix(".db.lock")


def _note(file: Path) -> Path:
    return file.with_name(file.name + ".version")


def _client(uri: str) -> MlflowClient:
    with quiet():
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment(client: MlflowClient, name: str, artifacts: Path | None) -> str:
    """Return the id of the experiment, made when missing."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(name, artifact_location=str(artifacts) if artifacts else None))


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
        raise FieldmarkError(
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
                raise _unreachable(uri, str(getattr(error, "reason", error))) from error
            time.sleep(2)


@contextmanager
def _everywhere(uri: str) -> Iterator[None]:
    """Make ``uri`` MLflow's own default as well: parts of it ask that instead of the client they were called from."""
    from mlflow import set_tracking_uri

    before = os.environ.get("MLFLOW_TRACKING_URI")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # prints the trace of what it raises anyway
    set_tracking_uri(uri)
    try:
        yield
    finally:
        set_tracking_uri(before)  # type: ignore[arg-type]  # None is "unset", which its type leaves out


@contextmanager
def _one_sentence(uri: str) -> Iterator[None]:
    """Turn what MLflow raises about its store, and nothing else, into a ``FieldmarkError``."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        text = " ".join(str(error).split())
        if "database is locked" in text or "API request to" in text:
            raise _unreachable(uri, text[:160]) from error
        raise


def _unreachable(uri: str, reason: str) -> FieldmarkError:
    return FieldmarkError(
        f"MLflow at {uri} does not answer ({reason}): start it or free it, or unset MLFLOW_TRACKING_URI "
        "to use the project's own database, then run the command again."
    )

"""Where MLflow keeps its records, and whether it is ready: all without importing MLflow, so in milliseconds."""

import fcntl
import os
import re
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fieldmark.core.errors import FieldmarkError, TryAgainError

_ASIDE = "move the file away to start a fresh one, or put a copy in its place"
PATIENCE = 15  # seconds to wait for a locked database or a silent server
NAMED = "MLFLOW_TRACKING_URI"
SQLITE = "sqlite:///"
NOWHERE = re.compile(r"[\w.-]+:\d+(/.*)?|sqlite:(?!///.).*")  # host:port alone, and a database without a file


def address(root: Path) -> str:
    """Return the tracking URI: ``MLFLOW_TRACKING_URI`` if set, else ``<root>/mlruns/mlflow.db``.

    Raises:
        FieldmarkError: it is none.
    """
    uri = os.environ.get(NAMED) or f"{SQLITE}{root.resolve() / 'mlruns' / 'mlflow.db'}"
    if NOWHERE.fullmatch(uri):
        raise unusable(uri, "it lacks http:// or the name of a file")
    return uri


def shown(text: str) -> str:
    """Return an address, or a sentence with one in it, fit for people: without user name and password.

    >>> shown("http://bob:secret@host:5000"), shown("sqlite:////home/me@work/mlflow.db")
    ('http://host:5000', 'sqlite:////home/me@work/mlflow.db')
    """
    return re.sub(r"(?<=://)(?!/)\S*@|[\w.%+-]+:[^\s/]*@", "", text)  # the second: where http:// was forgotten


def file(root: Path) -> Path | None:
    """Return the SQLite file of the store; None when a server keeps it."""
    uri = address(root)
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def written(root: Path) -> bool:
    """Say whether there is something to read: a server, or a database that somebody has begun."""
    path = file(root)
    return path is None or path.exists()


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
    """Hold an exclusive lock between processes; the system frees it when the holder dies.

    Raises:
        FieldmarkError: one may not write there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("w")
    except OSError as error:
        raise FieldmarkError(
            f"MLflow's records can't be kept in {path.parent} ({error.strerror}): make that folder writable, "
            f"or set {NAMED} to another place."
        ) from error
    with stream:
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
        raise FieldmarkError(f"MLflow could not prepare {file}: {last}; {_ASIDE}.")
    _note(file).write_text(version("mlflow"))


def _probe_database(file: Path) -> None:
    """Take and give back the write lock: MLflow itself would retry for minutes with a stack trace for each attempt."""
    try:
        with closing(sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        raise TryAgainError(
            f"MLflow's database {file} can't be used ({error}): end the program that holds it "
            "(a file viewer, a backup, a stopped run), then run the command again."
        ) from error
    except sqlite3.Error as error:  # that is no database
        raise FieldmarkError(f"MLflow can't read {file} ({error}): {_ASIDE}.") from error


def _probe_server(uri: str) -> None:
    """Ask the server for its health until it answers or patience ends."""
    request, until = _question(uri), time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(request, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # it answers: what it allows is for the calls themselves to find out
        except OSError as error:
            if time.monotonic() + 2 > until:
                raise unreachable(uri, str(getattr(error, "reason", error))) from error
            time.sleep(2)
        except (HTTPException, ValueError) as error:  # what answers is no web server
            raise unusable(uri, str(error)) from error


def _question(uri: str) -> urllib.request.Request:
    """Return what asks for the server's health; urllib would take user and password for a part of the host's name."""
    try:
        parts = urlsplit(uri)
        there = bool(parts.hostname) and parts.port != 0
    except ValueError:  # whose words may hold a piece of the password
        there = False
    if not there:
        raise unusable(uri, "it names no host, or a port that is none")
    request = urllib.request.Request(f"{shown(uri).rstrip('/')}/health")
    if parts.username is not None:
        who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {b64encode(who.encode()).decode()}")
    return request


def unreachable(uri: str, reason: str) -> TryAgainError:
    """Return the sentence for a store that does not answer."""
    return TryAgainError(
        f"MLflow at {shown(uri)} does not answer ({shown(reason)}): start it or free it, or unset {NAMED} "
        "to use the project's own database, then run the command again."
    )


def unusable(uri: str, reason: str) -> FieldmarkError:
    """Return the sentence for what no waiting makes a store."""
    return FieldmarkError(
        f"MLflow can't open '{shown(uri)}' ({shown(reason)}): set {NAMED} to http://HOST:PORT or "
        "sqlite:////ABSOLUTE/PATH.db, or unset it to use the project's own database."
    )

"""The MLflow store of a project: where it is, that it is ready, and one sentence when it is not."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, NamedTuple

from fieldmark.core.errors import FieldmarkError
from fieldmark.tracking import database, moved

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: How MLflow behaves where the user's environment says nothing: it gives up in seconds, not minutes, and is brief.
MANNERS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would print the password of a server with the address
}


class Store(NamedTuple):
    """An open store; all calls go through ``client`` with explicit run ids, so MLFLOW_RUN_ID can't leak into a run."""

    client: MlflowClient
    experiment_id: str
    uri: str  # as people may see it
    lock: Path


#: What the experiment's page says above its runs.
ABOUT = {
    "mlflow.note.content": "A run is a reproduction, described by its leaderboard; + opens its cells.\n\nA cell is a"
    " model on a seed: curves, measures, the data it read, pictures of what it saw and its lineage."
}


@contextmanager
def connect(root: Path, experiment: str = "fieldmark") -> Iterator[Store]:
    """Yield the project's store; inside the block a locked database or a silent server is a ``FieldmarkError``.

    Raises:
        FieldmarkError: it does not answer, or the address is none that MLflow can open.
    """
    uri = database.prepare(root)
    moved.settle(root)
    lock, artifacts = (
        database.lock_file(root),
        None if database.file(root) is None else root.resolve() / "mlruns" / "artifacts",
    )
    for name, value in MANNERS.items():
        os.environ.setdefault(name, value)
    with _one_sentence(uri), ExitStack() as stack:
        with _opening(uri):
            stack.enter_context(_everywhere(uri))
            client = _client(uri)
            experiment_id = _experiment(client, experiment, artifacts, lock)
        yield Store(client, experiment_id, database.shown(uri), lock)


@contextmanager
def reading(root: Path) -> Iterator[Store]:
    """Yield the store for who only asks: where nothing was ever written, ``connect`` would make an empty one.

    Raises:
        FieldmarkError: nothing was written yet, or as ``connect``.
    """
    if not database.written(root):
        named = os.environ.get(database.NAMED)
        where = database.file(root) if named else root.resolve()
        otherwise = f"correct {database.NAMED}" if named else "name the project's folder with --root"
        raise FieldmarkError(f"nothing is on record in {where}: run make repro, or {otherwise}.")
    with connect(root) as store:
        yield store


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what MLflow 3.17 says about its own code when it is first imported: no one here can act on it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")  # of SQLAlchemy 2.1
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")  # its own pydantic classes
        yield


def _client(uri: str) -> MlflowClient:
    with quiet():
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment(client: MlflowClient, name: str, artifacts: Path | None, lock: Path) -> str:
    """Return the id of the experiment, made when missing: once, whoever comes first."""
    found = client.get_experiment_by_name(name)
    if found is None:
        with database.locked(lock):
            found = client.get_experiment_by_name(name)
            if found is None:
                return str(client.create_experiment(name, str(artifacts) if artifacts else None, ABOUT))
    return str(found.experiment_id)


@contextmanager
def _everywhere(uri: str) -> Iterator[None]:
    """Make ``uri`` MLflow's own default as well: parts of it ask that instead of the client they were called from."""
    from mlflow import set_tracking_uri

    before = os.environ.get("MLFLOW_TRACKING_URI")
    for name in ("store.db.utils", "utils.databricks_utils"):  # they print the trace of what is raised anyway
        logging.getLogger(f"mlflow.{name}").setLevel(logging.CRITICAL)
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
        if _may_pass(error):
            raise database.unreachable(uri, _brief(error)) from error
        raise


@contextmanager
def _opening(uri: str) -> Iterator[None]:
    """Turn whatever is raised while a store is opened into a ``FieldmarkError``."""
    try:
        yield
    except FieldmarkError:
        raise
    except Exception as error:  # each database's driver has errors of its own
        if _may_pass(error):
            raise
        raise database.unusable(uri, _brief(error)) from error


def _may_pass(error: Exception) -> bool:
    return any(words in str(error) for words in ("database is locked", "API request to"))


def _brief(error: Exception) -> str:
    return shorten(str(error) or type(error).__name__, 160, placeholder=" ...")

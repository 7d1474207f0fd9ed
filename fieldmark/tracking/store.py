"""The MLflow store of a project: where it is, that it is ready, and one sentence when it is not."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fieldmark.tracking import database

if TYPE_CHECKING:
    from mlflow import MlflowClient

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


#: What the experiment's page says above its runs.
ABOUT = {
    "mlflow.note.content": "A run is a reproduction, described by its leaderboard; + opens its cells.\n\nA cell is a"
    " model on a seed: curves, measures, the data it read, pictures of what it saw and its lineage."
}


@contextmanager
def connect(root: Path, experiment: str = "fieldmark") -> Iterator[Store]:
    """Yield the project's store; inside the block a locked database or a silent server is a ``FieldmarkError``."""
    uri = database.prepare(root)
    lock, artifacts = (
        database.lock_file(root),
        None if database.file(root) is None else root.resolve() / "mlruns" / "artifacts",
    )
    for name, value in MANNERS.items():
        os.environ.setdefault(name, value)
    with _everywhere(uri), _one_sentence(uri):
        client = _client(uri)
        with database.locked(lock):
            experiment_id = _experiment(client, experiment, artifacts)
        yield Store(client, experiment_id, uri, lock)


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


def _experiment(client: MlflowClient, name: str, artifacts: Path | None) -> str:
    """Return the id of the experiment, made when missing."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(name, str(artifacts) if artifacts else None, ABOUT))


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
            raise database.unreachable(uri, text[:160]) from error
        raise

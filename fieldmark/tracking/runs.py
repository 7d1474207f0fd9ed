"""A run for each cell, nested under one parent run for each reproduction (code and params).

Every run carries ``fieldmark.cell``; a finished one also ``fieldmark.fingerprint``, the sha256 of the weights and
config it made, by which ``register`` finds it again. ``fieldmark.origin`` says whether it was seen training or
restored by DVC.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fieldmark.tracking.database import locked
from fieldmark.tracking.record import Dataset, Run
from fieldmark.tracking.store import Store, connect

PARENT = "mlflow.parentRunId"


@contextmanager
def cell_run(
    root: Path, *, cell: str, parent_key: str, params: Mapping[str, Any], datasets: Sequence[Dataset] = ()
) -> Iterator[Run]:
    """Yield the live run of a cell such as ``train@erm-0``; an error closes it as FAILED, an interrupt as KILLED.

    A run of the same cell left open by a killed process is closed first, so none stays RUNNING for ever.

    Raises:
        FieldmarkError: the store is locked or does not answer.
    """
    with connect(root) as store:
        parent = parent_run(store, parent_key)
        close_stale(store, parent, cell)
        run = _create(store, parent, cell, {"fieldmark.origin": "trained"})
        try:
            run.log_params(params)
            run.log_inputs(datasets)
            yield run
        except BaseException as error:  # goes on its way: only the run's end is noted
            run.close("FAILED" if isinstance(error, Exception) else "KILLED")
            raise


def parent_run(store: Store, key: str) -> str:
    """Return the id of the reproduction's run; made once, whoever comes first."""
    with locked(store.lock):
        found = search(store, {"fieldmark.reproduction": key})
        if found:
            return found[0]
        tags = {"fieldmark.reproduction": key, "mlflow.source.name": "dvc repro"}
        run_id: str = store.client.create_run(
            store.experiment_id, tags=tags, run_name=f"reproduction {key[:8]}"
        ).info.run_id
        store.client.set_terminated(run_id)  # it is a folder, not a process: nothing could be left to close it
        return run_id


def close_stale(store: Store, parent: str, cell: str) -> None:
    """Mark runs of ``cell`` that a killed process left open as KILLED; DVC never runs one cell twice at a time."""
    for run_id in search(store, {PARENT: parent, "fieldmark.cell": cell}, "attributes.status = 'RUNNING'"):
        store.client.set_terminated(run_id, "KILLED")


def find_or_restore(
    store: Store,
    parent: str,
    cell: str,
    fingerprint: str,
    params: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
) -> Run:
    """Return the run that made ``fingerprint``, or a new one that says DVC's cache restored it, with its curves."""
    identity = {"fieldmark.cell": cell, "fieldmark.fingerprint": fingerprint}
    here = search(store, {**identity, PARENT: parent})
    if here:
        return Run(store, here[0])
    close_stale(store, parent, cell)
    origin = (search(store, {**identity, "fieldmark.origin": "trained"}) or ["unknown"])[0]
    run = _create(store, parent, cell, {"fieldmark.origin": "restored", "fieldmark.restored_from": origin})
    run.log_params(params)
    run.finish(fingerprint, history)
    return run


def search(store: Store, tags: Mapping[str, str], *conditions: str) -> list[str]:
    """Return the ids of the runs with these tags, oldest first."""
    terms = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    found = store.client.search_runs(
        [store.experiment_id], " and ".join([*terms, *conditions]), order_by=["attributes.start_time ASC"]
    )
    return [run.info.run_id for run in found]


def _create(store: Store, parent: str, cell: str, tags: Mapping[str, str]) -> Run:
    stage = {"dvc.stage": os.environ.get("DVC_STAGE", ""), "mlflow.source.name": cell.partition("@")[0]}
    all_tags = {**stage, PARENT: parent, "fieldmark.cell": cell, **tags}
    made = store.client.create_run(store.experiment_id, tags=all_tags, run_name=cell.rpartition("@")[2])
    return Run(store, made.info.run_id)

"""An audit as an MLflow run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fieldmark.tracking.record import Run
from fieldmark.tracking.store import connect


def log(
    root: Path,
    name: str,
    *,
    params: Mapping[str, Any],
    measures: Mapping[str, float],
    files: Iterable[Path],
    tags: Mapping[str, str],
    description: str,
) -> str:
    """Record an audit and return the id of its run; unknown measures are left out."""
    with connect(root) as store:
        made = store.client.create_run(
            store.experiment_id, run_name=f"audit {name}", tags={"mlflow.source.name": "fieldmark audit", **tags}
        )
        run = Run(store, made.info.run_id)
        run.log_params(params)
        run.log_metrics({f"test/{key}": value for key, value in measures.items()})
        run.log_files(files, "audit")
        run.describe(description)
        run.close("FINISHED")
    return run.run_id

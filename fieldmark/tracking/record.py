"""One MLflow run: what can be written to it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fieldmark.core.store import canonical
from fieldmark.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Metric

MOST_METRICS = 1000  # of one call, MLflow's limit
PAUSE = 2.0  # seconds between two writings of curves: each waits for the disk, and an epoch may take a tenth of that


class Dataset(NamedTuple):
    """What a run read, or what a metric was measured on."""

    name: str  # as people say it: "wildstamps/0 test"
    digest: str  # DVC's name for the content: at most 36 characters, MLflow's limit
    source: str  # path in the project
    context: str  # "train", "val" or "test"


class Run:
    """One run, open or closed; everything written to it may be written again without a change."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store, self.run_id = store, run_id
        self._epochs: set[int] = set()
        self._waiting: list[Mapping[str, float | None]] = []
        self._written = time.monotonic()

    def log_epoch(self, row: Mapping[str, float | None]) -> None:
        """Log one row of a history: its ``epoch`` is the step, the rest are the curves; NaN or None = not measured.

        Rows are written together, every ``PAUSE`` seconds and when the run ends.
        """
        self._waiting.append(row)
        if time.monotonic() - self._written >= PAUSE:
            self._write_waiting()

    def finish(self, fingerprint: str, history: Iterable[Mapping[str, float | None]] = ()) -> None:
        """Name what the run made and close it; ``history`` fills in epochs trained before an interruption."""
        self._write_waiting()
        self._log_rows(row for row in history if _step(row) not in self._epochs)
        self.tag({"fieldmark.fingerprint": fingerprint})
        self.close("FINISHED")

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        self._write_waiting()
        self.store.client.set_terminated(self.run_id, status)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._batch(tags=tags)

    def describe(self, text: str) -> None:
        """Set what people read first on the run's page, in Markdown."""
        self.tag({"mlflow.note.content": text})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log nested ``params`` under dotted names; a param of a run can't change once logged."""
        from mlflow.entities import Param

        known = self.store.client.get_run(self.run_id).data.params
        fresh = [Param(key, value) for key, value in flat(params).items() if key not in known]
        self.store.client.log_batch(self.run_id, params=fresh)

    def log_inputs(self, datasets: Sequence[Dataset]) -> None:
        """Name the datasets the run read."""
        from mlflow import entities

        self.store.client.log_inputs(
            self.run_id,
            [
                entities.DatasetInput(
                    entities.Dataset(one.name, one.digest, source_type="local", source=json.dumps({"uri": one.source})),
                    [entities.InputTag("mlflow.data.context", one.context)],
                )
                for one in datasets
            ],
        )

    def log_metrics(
        self, values: Mapping[str, float | None], *, model_id: str | None = None, dataset: Dataset | None = None
    ) -> None:
        """Log measures, linked to the model and the data they were measured on.

        What is there already is left alone. What is unknown (NaN or None) is not logged: MLflow 3.17 gives the NaN of a
        model back as 0.
        """
        there = self.store.client.get_run(self.run_id).data.metrics
        fresh = {key: value for key, value in _known(values).items() if there.get(key) != value}
        self._batch([_metric(key, fresh[key], model_id=model_id, dataset=dataset, run_id=self.run_id) for key in fresh])

    def log_files(self, files: Iterable[Path], folder: str) -> None:
        """Copy files (pictures, tables) into ``folder`` of the run's artifacts."""
        for file in files:
            self.store.client.log_artifact(self.run_id, str(file), folder)

    def log_json(self, value: Any, name: str) -> None:
        """Write ``value`` as the artifact ``name``, NaN as null."""
        self.store.client.log_text(self.run_id, json.dumps(json.loads(canonical(value)), indent=2) + "\n", name)

    def _write_waiting(self) -> None:
        rows, self._waiting = self._waiting, []
        self._log_rows(rows)
        self._written = time.monotonic()

    def _log_rows(self, rows: Iterable[Mapping[str, float | None]]) -> None:
        metrics: list[Metric] = []
        for row in rows:
            self._epochs.add(_step(row))
            curves = {key: value for key, value in row.items() if key != "epoch"}
            metrics += [_metric(key, value, step=_step(row)) for key, value in _known(curves).items()]
        self._batch(metrics)

    def _batch(self, metrics: Sequence[Metric] = (), tags: Mapping[str, str] | None = None) -> None:
        from mlflow.entities import RunTag

        if tags:  # every call is a transaction of the database, and waits for the disk
            self.store.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        for start in range(0, len(metrics), MOST_METRICS):
            self.store.client.log_batch(self.run_id, metrics=metrics[start : start + MOST_METRICS])


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested params under dotted names, as MLflow wants them.

    >>> flat({"train": {"lr": 0.1}, "options": {}})
    {'train.lr': '0.1', 'options': '{}'}
    """
    rows: dict[str, str] = {}
    for key, value in params.items():
        nested = isinstance(value, Mapping) and value
        rows |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": str(value)}
    return rows


def _step(row: Mapping[str, Any]) -> int:
    return int(row["epoch"])


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items() if value is not None and not math.isnan(value)}


def _metric(
    key: str,
    value: float,
    *,
    step: int = 0,
    model_id: str | None = None,
    dataset: Dataset | None = None,
    run_id: str | None = None,
) -> Metric:
    from mlflow.entities import Metric

    linked = {"dataset_name": dataset.name, "dataset_digest": dataset.digest} if dataset else {}
    return Metric(key, value, int(time.time() * 1000), step, model_id=model_id, run_id=run_id, **linked)

"""Runs, lineage, registry, gate and ledger, on a real MLflow store."""

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tracked_project as project
from tracked_project import CELL, HISTORY

from fieldmark.core.errors import FieldmarkError, TryAgainError
from fieldmark.tracking import (
    database,
    runs,
)
from fieldmark.tracking.store import Store, connect

OTHER = "0" * 64  # fingerprint of something never trained


@pytest.fixture(scope="module")
def tracked(mlruns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.make(tmp_path_factory.mktemp("tracked") / "project", mlruns)


def test_a_prepared_store_is_ready_at_once_without_mlflow(tracked: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from fieldmark.tracking import database, runs\n"
        "t = time.monotonic(); "
        f"database.prepare(Path({str(tracked)!r})); print('mlflow' in sys.modules, time.monotonic() - t < 0.2)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project.ROOT)
    assert done.stdout.split() == ["False", "True"]


def test_a_locked_database_is_one_sentence(tracked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    holder = sqlite3.connect(tracked / "mlruns" / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(FieldmarkError, match=r"mlflow.db can't be used \(database is locked\): end the program"):
            database.prepare(tracked)
    finally:
        holder.close()


def test_a_broken_database_or_a_silent_server_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_text("not a database, but long enough to be looked at as one" * 10)
    with pytest.raises(FieldmarkError, match="file is not a database"):
        database.prepare(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(FieldmarkError, match="http://127.0.0.1:9 does not answer"):
        database.prepare(tmp_path)


def test_a_lock_that_comes_later_is_one_sentence_too(tracked: Path) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(FieldmarkError, match="does not answer"), connect(tracked):
        raise MlflowException("(sqlite3.OperationalError) database is locked")
    with pytest.raises(TryAgainError, match="API request to http://host/api failed"), connect(tracked):
        raise MlflowException("API request to http://bob:hunter2@host/api failed")
    with pytest.raises(MlflowException, match="a mistake of ours"), connect(tracked):
        raise MlflowException("a mistake of ours")
    assert "MLFLOW_TRACKING_URI" not in os.environ


# runs


def status(store: Store, run_id: str) -> str:
    return str(store.client.get_run(run_id).info.status)


def children(store: Store, parent: str) -> list[str]:
    return runs.search(store, {runs.PARENT: parent})


def test_a_cell_is_logged_live_under_its_parent(tracked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)  # MLflow's own API would write into this one
    monkeypatch.setenv("DVC_STAGE", CELL)
    params = {"model": "erm", "train": {"lr": 0.1}}
    with runs.cell_run(tracked, cell=CELL, parent_key="live", params=params, datasets=[project.DATA]) as run:
        run.log_epoch({"epoch": 1, "loss": 0.5, "val": None, "worst": float("nan")})
        run.finish("fp-live", HISTORY)
        run.describe("looks *everywhere*")
    with connect(tracked) as store:
        found = store.client.get_run(run.run_id)
        curve = [(m.step, m.value) for m in store.client.get_metric_history(run.run_id, "loss")]
        assert found.info.status == "FINISHED"
        assert set(found.data.metrics) == {"loss"}
        assert found.data.params == {"model": "erm", "train.lr": "0.1"}
        assert sorted(curve) == [(0, 1.0), (1, 0.5)]  # epoch 0 came from before an interruption, epoch 1 is not doubled
        assert found.data.tags["fieldmark.origin"] == "trained"
        assert found.data.tags["mlflow.note.content"] == "looks *everywhere*"
        assert found.data.tags["dvc.stage"] == CELL
        assert found.inputs.dataset_inputs[0].dataset.digest == project.DATA.digest
        assert found.data.tags[runs.PARENT] == runs.parent_run(store, "live")


@pytest.mark.parametrize(("error", "end"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_breaks_off_says_how(tracked: Path, error: type[BaseException], end: str) -> None:
    key = f"breaks {end}"
    with pytest.raises(error), runs.cell_run(tracked, cell=CELL, parent_key=key, params={}):
        raise error
    with connect(tracked) as store:
        assert [status(store, run) for run in children(store, runs.parent_run(store, key))] == [end]


def test_a_run_left_by_a_killed_process_is_closed_by_the_next(tracked: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from fieldmark.tracking import runs\n"
        f"with runs.cell_run(Path({str(tracked)!r}), cell={CELL!r}, parent_key='killed', params={{}}):\n"
        "    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=project.ROOT, capture_output=True).returncode == -9
    with connect(tracked) as store:
        parent = runs.parent_run(store, "killed")
        assert [status(store, run) for run in children(store, parent)] == ["RUNNING"]
    with runs.cell_run(tracked, cell=CELL, parent_key="killed", params={}) as run:
        run.finish("fp-killed", HISTORY)
    with connect(tracked) as store:
        assert [status(store, run) for run in children(store, parent)] == ["KILLED", "FINISHED"]


def test_all_who_come_at_once_share_one_parent(tracked: Path) -> None:
    with connect(tracked) as store, ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: runs.parent_run(store, "together"), range(8)))) == 1
        assert len(runs.search(store, {"fieldmark.reproduction": "together"})) == 1


def test_a_cell_from_the_cache_says_which_run_it_comes_from(tracked: Path) -> None:
    with runs.cell_run(tracked, cell=CELL, parent_key="first", params={}) as trained:
        trained.finish("fp-cache", HISTORY)
    with connect(tracked) as store:
        second = runs.parent_run(store, "second")
        run = runs.find_or_restore(store, second, CELL, "fp-cache", {"model": "erm"}, HISTORY)
        again = runs.find_or_restore(store, second, CELL, "fp-cache", {"model": "erm"}, HISTORY)
        stranger = runs.find_or_restore(store, second, CELL, OTHER, {}, HISTORY)
        found = store.client.get_run(run.run_id)
        assert again.run_id == run.run_id
        assert found.data.tags["fieldmark.restored_from"] == trained.run_id
        assert (found.info.status, found.data.metrics, found.data.params) == (
            "FINISHED",
            {"loss": 0.5},
            {"model": "erm"},
        )
        assert store.client.get_run(stranger.run_id).data.tags["fieldmark.restored_from"] == "unknown"

"""What register publishes, on a real MLflow store: once, traceable, servable anywhere, and never pickled."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tracked_project as project
from tracked_project import CELL

from fieldmark import serve
from fieldmark.core.errors import FieldmarkError
from fieldmark.tracking import (
    database,
    gate,
    lineage,
    record,
    registry,
    runs,
    trace,
)
from fieldmark.tracking.store import connect


@pytest.fixture(scope="module")
def tracked(mlruns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.make(tmp_path_factory.mktemp("tracked") / "project", mlruns)


@pytest.fixture(scope="module")
def registered(tracked: Path) -> tuple[record.Run, registry.Version]:
    picture = tracked / "data" / "trained" / "right-1.png"
    picture.write_bytes(b"png")
    run, version = project.register(tracked, [picture])
    with connect(tracked) as store:
        registry.promote(store, version, gate.first("erm"))
    return run, version


def test_publishing_twice_changes_nothing(tracked: Path, registered: tuple[record.Run, registry.Version]) -> None:
    run, version = registered
    with connect(tracked) as store:
        parent = store.client.get_run(run.run_id).data.tags[runs.PARENT]
        before = runs.search(store, {runs.PARENT: parent})
    again = project.register(tracked, [tracked / "data" / "trained" / "right-1.png"])
    assert (again[0].run_id, again[1]._replace(aliases=[])) == (run.run_id, version._replace(aliases=[]))
    with connect(tracked) as store:
        assert runs.search(store, {runs.PARENT: parent}) == before
        assert len(store.client.get_metric_history(run.run_id, "test/worst_group")) == 1
        assert len(store.client.get_run(run.run_id).inputs.dataset_inputs) == 1
        assert len(store.client.search_model_versions("name = 'fieldmark'")) == 1
        assert [one.path for one in store.client.list_artifacts(run.run_id, "pictures")] == ["pictures/right-1.png"]


def test_a_metric_knows_its_model_and_its_data(tracked: Path, registered: tuple[record.Run, registry.Version]) -> None:
    with connect(tracked) as store:
        metrics = {one.key: one for one in store.client.get_logged_model(registered[1].model_id).metrics}
    found = metrics["test/worst_group"]
    assert (found.value, found.dataset_name, found.dataset_digest) == (0.75, project.DATA.name, project.DATA.digest)
    assert "test/unknown" not in metrics  # rather than the 0 that MLflow would make of it


def test_the_alias_moves_through_the_gate_alone(tracked: Path, registered: tuple[record.Run, registry.Version]) -> None:
    with connect(tracked) as store:
        found = registry.champion(store, "fieldmark")
        assert found is not None
        assert (found.version, found.aliases) == ("1", ["champion"])
        assert registry.champion(store, "never heard of") is None
        for verdict in (gate.KEEP, gate.UNSURE):
            with pytest.raises(FieldmarkError, match="can't become champion"):
                registry.promote(store, found, gate.Decision(verdict, []))
        with pytest.raises(FieldmarkError, match="the registry has no models:/fieldmark@nobody"):
            registry.resolve(store, "models:/fieldmark@nobody")
        with pytest.raises(FieldmarkError, match="names no model"):
            registry.resolve(store, "fieldmark")


def test_a_model_stands_alone_in_another_process_and_folder(
    tracked: Path, registered: tuple[record.Run, registry.Version], tmp_path: Path
) -> None:
    images_NHW3 = project.pictures(2)
    np.save(tmp_path / "images.npy", images_NHW3)
    code = (
        "import mlflow, numpy as np, json\n"
        "answer = mlflow.pyfunc.load_model('models:/fieldmark@champion').predict(np.load('images.npy'))\n"
        "import fieldmark; print(json.dumps([fieldmark.__file__, {k: v.tolist() for k, v in answer.items()}]))"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": database.address(tracked), "PYTHONPATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    origin, answer = json.loads(done.stdout.splitlines()[-1])
    here = serve.Classifier.load(tracked / "data" / "trained" / "erm-0").predict(images_NHW3)
    assert origin.startswith(str(tracked / "mlruns" / "artifacts"))  # it brought its own code
    assert answer["label"] == here.label.tolist()
    assert np.allclose(answer["probabilities"], here.probabilities, atol=1e-6)
    assert answer["mask"] == np.ones((2, 2, 2)).tolist()  # erm looks everywhere: 64 px are 2 x 2 tokens


def test_nothing_in_the_artifacts_is_pickled(tracked: Path, registered: tuple[record.Run, registry.Version]) -> None:
    kept = [path for path in (tracked / "mlruns" / "artifacts" / "models").rglob("*") if path.is_file()]
    files = [path for path in kept if path.parent.name != "__pycache__"]  # which loading leaves beside the code
    assert {path.name for path in files} >= {"weights.safetensors", "config.json", "_pyfunc.py", "MLmodel"}
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".pt", ".pth", ".pyc", ".joblib")]
    assert not any(path.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05") for path in files)  # a pickle by another name
    requirements = next(path for path in files if path.name == "requirements.txt").read_text().split()
    assert all("==" in line and "+" not in line for line in requirements)


def test_a_project_that_was_moved_takes_its_records_along(
    tracked: Path, registered: tuple[record.Run, registry.Version], tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(tracked, moved)
    with connect(moved) as store:
        assert trace.trace_model(store, "models:/fieldmark@champion").sources == lineage.sources(project.index(moved))
    with closing(sqlite3.connect(moved / "mlruns" / "mlflow.db")) as records:
        assert str(tracked) not in "\n".join(records.iterdump()) and str(moved) in "\n".join(records.iterdump())
    with connect(tracked) as store:  # a copy leaves the original alone
        assert str(tracked) in store.client.get_run(registered[0].run_id).info.artifact_uri


def test_what_is_gone_from_a_model_or_other_code_is_named(
    tracked: Path, registered: tuple[record.Run, registry.Version], tmp_path: Path
) -> None:
    moved, uri = tmp_path / "moved", "models:/fieldmark@champion"
    shutil.copytree(tracked, moved)
    kept = moved / "mlruns" / "artifacts" / "models" / registered[1].model_id / "artifacts"
    with connect(moved) as store:
        (kept / "code" / "fieldmark" / "serve.py").write_text("import os\n")
        assert trace.weights_problems(store, uri) == [f"{uri}: its code is not what it was logged with"]
        (kept / "_pyfunc.py").unlink()
        next(kept.rglob("weights.safetensors")).unlink()
        assert trace.weights_problems(store, uri)[0] == f"{uri}: weights.safetensors is not what its manifest says"


def test_from_the_alias_down_to_every_source(tracked: Path, registered: tuple[record.Run, registry.Version]) -> None:
    with connect(tracked) as store:
        found = trace.trace_model(store, "models:/fieldmark@champion")
        assert trace.weights_problems(store, "models:/fieldmark@champion") == []
        with pytest.raises(FieldmarkError, match=r"has no card.json"):
            trace.card(store, "models:/fieldmark@champion")
    assert found.sources == lineage.sources(project.index(tracked))
    assert found.manifest == trace.trace_cell(tracked, CELL, project.index(tracked)).manifest
    text = trace.tree(found)
    assert text.splitlines()[0] == "fieldmark 1 (champion)"
    assert all(digest in text for digest in found.sources.values())

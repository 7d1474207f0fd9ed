"""The job on a small copy of this repository: what runs again, what is restored, what becomes champion.

It is made as `make repro` does; plain DVC finds nothing to do, and what a change concerns.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import world as worlds
from tracked_project import git

from fieldmark import cli
from fieldmark.core import layout, store
from fieldmark.tracking import trace
from fieldmark.tracking.runs import search
from fieldmark.tracking.store import connect, quiet

SMALL: dict[str, Any] = {  # as few measures as params/papers-zoom.yaml has: register shows what there is
    "seeds": [0],
    "models": {"erm": {}, "ersm": {}},
    "evaluate": {
        "tests": {"average": {}, "worst_group": {}}, "validation": ["average", "worst_group"], "variants": ["original"],
    },
    "register": {
        "name": "fieldmark", "baseline": "erm", "candidates": ["ersm"], "minimum_group": 5,
        "floor": {"token_auc": 0.55},
    },
}  # fmt: skip
SEARCH_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
HERE = {**os.environ, "PATH": SEARCH_PATH, "PYTHONPATH": ""}  # the copy's code alone
LEFT_HALF = '''"""A model of the test: it looks at the left half."""

import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch
from fieldmark.layers.pooling import TokenClassifier

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True


def build(backbone: Backbone, num_classes: int) -> nn.Module:
    """Return a linear classifier on the left half's tokens."""
    return TokenClassifier(backbone.channels, num_classes, left)


def left(batch: Batch) -> Tensor:
    """Return ones on the left."""
    rows = torch.arange(batch.x_BCHW.shape[3]) < batch.x_BCHW.shape[3] // 2
    return rows.float().expand(batch.x_BCHW.shape[0], *batch.x_BCHW.shape[2:])
'''


def cells(*models: str) -> set[str]:
    """Return what the cells of models are called."""
    return {f"{stage}@{model}-0" for model in models for stage in ("train", "evaluate", "explain")}


def python(root: Path, *words: str) -> str:
    """Return what Python says when it is asked to do something there."""
    done = subprocess.run([sys.executable, *words], cwd=root, env=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(root: Path, *words: str) -> str:
    return python(root, "-m", *words)


def repro(root: Path) -> str:
    """Do what `make repro` does."""
    return run(root, "pipelines.warm", sys.executable, "-m", "pipelines.parallel", "--jobs", "2")


def ran(said: str) -> set[str]:
    """Return the stages that DVC ran."""
    return set(re.findall(r"^Running stage '(.*)':", said, re.MULTILINE))


def changed(root: Path) -> set[str]:
    """Return the stages whose own inputs changed, once words are spelt out anew."""
    both = "from dvc.cli import main; assert not main(['repro', 'wire']) + main(['status', '--json'])"
    return set(json.loads(python(root, "-c", both).splitlines()[-1]))


def commit(root: Path) -> None:
    git(root, "add", ".")
    git(root, "commit", "-qm", "all")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of this repository with small parameters, committed and reproduced."""
    root = worlds.clone(tmp_path_factory.mktemp("graph") / "project")
    worlds.write_params(root, **SMALL)
    git(root, "init", "-q")
    commit(root)
    said = repro(root)
    assert ran(said) == {"pull", "validate", "wire", "split@0", "embed@0", "report", "register"} | cells("erm", "ersm")
    return root


@pytest.fixture(scope="module")
def grown(project: Path) -> tuple[Path, str]:
    """Return the project with one more model and another option of ERSM, and what DVC said."""
    (project / "fieldmark" / "models" / "left_half.py").write_text(LEFT_HALF)
    worlds.write_params(project, **SMALL | {"models": {"erm": {}, "ersm": {"options": {"lam": 0.01}}, "left_half": {}}})
    commit(project)
    return project, repro(project)


def test_a_second_repro_has_nothing_to_do(project: Path) -> None:
    start = time.monotonic()
    said = run(project, "dvc", "repro")
    print(f"up to date in {time.monotonic() - start:.1f} s")
    assert said.endswith("Data and pipelines are up to date.\n")
    assert not ran(said)


def test_a_plain_process_elsewhere_gives_the_same_bytes(project: Path, mlruns: Path, tmp_path: Path) -> None:
    other = worlds.make(tmp_path / "elsewhere", mlruns, **SMALL)
    for folder in ("raw", "splits", "embedded", "trained", "evaluated", "explained"):
        here, there = worlds.files(project / "data" / folder), worlds.files(other / "data" / folder)
        assert {name: digest for name, digest in here.items() if not name.endswith(".gitignore")} == there
    for name in ("leaderboard.json", "claims.json", "report.html"):
        assert (layout.report(project) / name).read_bytes() == (layout.report(other) / name).read_bytes()


def test_the_champion_answers(project: Path) -> None:
    with connect(project), quiet():
        from mlflow import pyfunc

        model = pyfunc.load_model("models:/fieldmark@champion")
    images = np.random.default_rng(0).integers(0, 256, (3, 80, 100, 3), np.uint8)
    found = model.predict(images)
    assert set(found["label"]) <= {"disc", "square"}
    np.testing.assert_allclose(np.sum(found["probabilities"], axis=1), 1, rtol=1e-5)
    assert np.array(found["mask"]).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("word", "shown"),
    [("trace", "commit "), ("why", "fieldmark 1 (champion)"), ("verify", "all is as written down")],
)
def test_its_story_can_be_told(project: Path, capsys: pytest.CaptureFixture[str], word: str, shown: str) -> None:
    cli.main(["--root", str(project), word])
    assert shown in capsys.readouterr().out


def test_an_option_changes_its_models_cells_alone(project: Path) -> None:
    before = (project / "params.yaml").read_text()
    worlds.write_params(project, **SMALL | {"models": {"erm": {}, "ersm": {"options": {"lam": 0.01}}}})
    found = changed(project)
    (project / "params.yaml").write_text(before)
    assert found == cells("ersm") | {"report", "register"}
    assert not changed(project)


def test_a_new_model_changes_its_own_cells_alone(project: Path) -> None:
    before, file = (project / "params.yaml").read_text(), project / "fieldmark" / "models" / "left_half.py"
    file.write_text(LEFT_HALF)
    worlds.write_params(project, **SMALL | {"models": {"erm": {}, "ersm": {}, "left_half": {}}})
    found = changed(project)
    (project / "params.yaml").write_text(before)
    file.unlink()
    assert found == cells("left_half") | {"report", "register"}
    assert not changed(project)


def test_uncommitted_code_is_not_registered(project: Path) -> None:
    before = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(before + "# changed\n")
    done = subprocess.run(
        [sys.executable, "-m", "stages.register"], cwd=project, env=HERE, capture_output=True, text=True
    )
    foretold = python(project, "-c", "from pipelines.parallel import refused; print(refused())")
    (project / "params.yaml").write_text(before)
    assert foretold == done.stderr.removeprefix("fieldmark: ")
    assert done.returncode == 1
    wanted = "fieldmark: a model is registered from committed code only, and params.yaml differ: git add and git commit"
    assert done.stderr.startswith(wanted)
    assert done.stderr.count("\n") == 1


def test_changed_cells_and_what_follows_run_and_nothing_else(grown: tuple[Path, str]) -> None:
    root, said = grown
    assert ran(said) - {"wire"} == cells("ersm", "left_half") | {"report", "register"}
    rows = store.read_json(layout.report(root) / "leaderboard.json")
    assert {row["model"] for row in rows} == {"erm", "ersm", "left_half"}


def test_what_was_trained_before_is_restored_and_says_so(grown: tuple[Path, str]) -> None:
    root, _ = grown
    worlds.write_params(root, **SMALL | {"models": {"erm": {}, "ersm": {}, "left_half": {}}})
    commit(root)
    said = repro(root)
    assert "Stage 'train@ersm-0' is cached - skipping run, checking out outputs" in said
    # DVC's run cache leaves out stages with results that git keeps: these measure again, to the same bytes
    assert ran(said) == {"evaluate@ersm-0", "explain@ersm-0", "report", "register"}
    with connect(root) as records:
        cell = {"fieldmark.cell": "train@ersm-0"}
        first, other = search(records, {**cell, "fieldmark.origin": "trained"})
        (again,) = search(records, {**cell, "fieldmark.origin": "restored"})
        tags = records.client.get_run(again).data.tags
        assert tags["fieldmark.restored_from"] == first != other
        curve = records.client.get_metric_history(again, "loss")
        assert [point.step for point in curve] == list(range(5))
        _, card = trace.card(records, "models:/fieldmark/1")
    assert card["models"] == ["erm", "ersm", "left_half"], "the same weights are told with the last measures"
    assert card["commit"] == git(root, "rev-list", "--max-parents=0", "HEAD").strip(), "and with their own code"
    run(root, "fieldmark.cli", "verify")

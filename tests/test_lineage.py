"""Lineage, dvc.lock and verification, on a small project in git."""

import shutil
from pathlib import Path

import pytest
import tracked_project as project
import yaml
from tracked_project import CELL, git

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.params import load
from fieldmark.core.store import sha256
from fieldmark.tracking import dvclock, lineage, verify


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.make(tmp_path_factory.mktemp("lineage") / "project")


@pytest.fixture
def repository(whole: Path, tmp_path: Path) -> Path:
    """A project of one's own to damage."""
    return shutil.copytree(whole, tmp_path / "p")


def test_a_folder_is_hashed_as_dvc_3_does(tmp_path: Path) -> None:
    for name, text in {"f/a.txt": "a", "f/a-x.txt": "c", "f/sub/b.txt": "b", "f/__pycache__/x.pyc": "?"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert dvclock.content_hash(tmp_path / "f") == "92f24a3f621687d5c43b52afd4283511.dir"  # said by dvc 3.67 add
    assert dvclock.content_hash(tmp_path / "f" / "a.txt") == "0cc175b9c0f1b6a831c399e269772661"


def test_ancestors_are_found_through_the_paths(repository: Path) -> None:
    stages = dvclock.read(repository)
    assert dvclock.ancestors(stages, CELL) == ["pull", "split@0", CELL]
    with pytest.raises(FieldmarkError, match="does not know 'train@x-9'"):
        dvclock.ancestors(stages, "train@x-9")


def test_a_manifest_names_outputs_inputs_params_and_commit(repository: Path) -> None:
    statement = lineage.manifest(repository, CELL, index=project.index(repository))
    weights = repository / "data" / "trained" / "erm-0" / "weights.safetensors"
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert {one["name"]: one["digest"] for one in statement["subject"]}["data/trained/erm-0/weights.safetensors"] == {
        "sha256": sha256(weights)
    }
    definition = statement["predicate"]["buildDefinition"]
    named = {one["name"]: one["digest"] for one in definition["resolvedDependencies"]}
    assert list(named) == [
        "git commit", "requirements.lock", "data/raw/shapes/index.parquet", "code/train.py", "data/raw/shapes",
        "data/split.csv",
    ]  # fmt: skip
    assert named["git commit"] == {"gitCommit": git(repository, "rev-parse", "HEAD").strip()}
    assert named["code/train.py"] == {"md5": dvclock.content_hash(repository / "code" / "train.py")}
    assert definition["externalParameters"][CELL] == {"params.yaml": {"seeds": [0]}}
    assert statement == lineage.manifest(repository, CELL, index=project.index(repository))
    assert all(len(value) <= 5000 for value in lineage.tags(statement).values())


def test_incomplete_lineage_is_refused(repository: Path) -> None:
    def refused(words: str) -> None:
        with pytest.raises(FieldmarkError, match=words):
            lineage.manifest(repository, CELL, index=project.index(repository))

    config = repository / "data" / "trained" / "erm-0" / "config.json"
    text = config.read_text()
    config.write_text(text + " ")
    refused("data/trained/erm-0 is not what dvc.lock says")
    config.write_text(text)
    (repository / "requirements.lock").unlink()
    refused("requirements.lock does not exist")
    written = (repository / "dvc.lock").read_text()
    (repository / "dvc.lock").write_text(written.replace("path: data/raw/shapes\n", "path: elsewhere\n"))
    refused("does not say what made data/raw/shapes/index.parquet")
    (repository / "dvc.lock").unlink()
    refused("dvc.lock does not exist")
    with pytest.raises(FieldmarkError, match="source images are unknown"):
        lineage.sources(repository / "no.parquet")


def test_results_do_not_make_the_code_dirty_but_code_and_params_do(repository: Path) -> None:
    before = lineage.reproduction(repository)
    (repository / "dvc.lock").write_text("schema: '2.0'")
    (repository / "data" / "new.json").write_text("{}")
    (repository / "mlruns").mkdir()
    (repository / "mlruns" / "mlflow.db").write_text("ignored by git")
    assert lineage.demand_committed(repository).changed == []
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "results")
    assert (
        lineage.reproduction(repository) == before
    )  # the runs of a repro stay together when its results are committed
    for name in ("params.yaml", "requirements.lock", "code/train.py", "new.py"):
        with (repository / name).open("a") as stream:
            stream.write("# more\n")
    assert lineage.code(repository).changed == ["code/train.py", "new.py", "params.yaml", "requirements.lock"]
    with pytest.raises(FieldmarkError, match=r"code/train.py, new.py.* git commit"):
        lineage.demand_committed(repository)
    assert lineage.reproduction(repository) != before


def test_without_git_or_a_commit_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(FieldmarkError, match="not a git repository.*run git init"):
        lineage.code(tmp_path)
    git(tmp_path, "init", "-q")
    with pytest.raises(FieldmarkError, match="run git init, git add and git commit"):
        lineage.code(tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FieldmarkError, match="git is not installed"):
        lineage.code(tmp_path)


def test_verify_names_what_differs(repository: Path) -> None:
    params = load(repository / "params.yaml")
    assert [*verify.outputs(repository, params), *verify.sources(project.index(repository))] == []
    shard = repository / "data" / "raw" / "shapes" / "shard.tar"
    shard.write_bytes(shard.read_bytes().replace(b"second", b"secund"))
    assert ["'b'" in problem for problem in verify.sources(project.index(repository))] == [True]
    (repository / "data" / "split.csv").unlink()
    assert [problem.split(" is ")[0] for problem in verify.outputs(repository, params)] == [
        "data/raw/shapes",
        "data/split.csv",
    ]


def test_verify_asks_nothing_of_a_model_that_is_no_more(repository: Path) -> None:
    lock = repository / "dvc.lock"
    known = yaml.safe_load(lock.read_text())
    known["stages"]["train@gone-0"] = {"outs": [{"path": "data/trained/gone-0", "md5": "0" * 32}]}
    lock.write_text(yaml.safe_dump(known))
    assert [*verify.outputs(repository, load(repository / "params.yaml"))] == []

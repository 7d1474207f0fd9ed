"""Presets name what the ledger asks for, and run in a project of their own, to the same bytes as stage by stage."""

import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import world as worlds
from tracked_project import git
from waiting import until

from fieldmark.core import layout
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.params import load
from pipelines import apart, cells


def papers() -> dict[str, Path]:
    """Return the presets that claims are tested with."""
    return {name: path for name, path in apart.presets().items() if name.startswith("papers")}


def test_presets_have_five_seeds() -> None:
    assert papers() and all(len(load(path).seeds) >= 5 for path in papers().values())


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small committed project that claims would be tested with."""
    root = tmp_path / "origin"
    for name in (
        "fieldmark/old.py",
        "stages/one.py",
        "params/papers.yaml",
        "data/evaluated/main.json",
        "dvc.lock",
        "dvc.yaml",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "all")
    monkeypatch.setattr(apart, "ROOT", root)
    return root


def test_a_preset_has_the_code_but_not_the_main_jobs_results(origin: Path, tmp_path: Path) -> None:
    project = apart.checkout(tmp_path / "project", origin / "params" / "papers.yaml")
    assert (project / "params.yaml").read_text() == "params/papers.yaml" and (project / "stages" / "one.py").exists()
    assert not (project / "dvc.lock").exists() and not [*project.glob("data/**/*.json")]
    assert not git(project, "status", "--porcelain").strip()


def test_a_second_call_goes_on_and_starts_anew_when_code_has_changed(origin: Path, tmp_path: Path) -> None:
    project = apart.checkout(tmp_path / "project", origin / "params" / "papers.yaml")
    (project / "data" / "trained").mkdir(parents=True)
    (project / "data" / "evaluated").mkdir()
    (project / "data" / "evaluated" / "erm-0.json").touch()  # git would keep it
    apart.checkout(project, origin / "params" / "papers.yaml")
    assert (project / "data" / "trained").exists() and (project / "data" / "evaluated" / "erm-0.json").exists()
    git(origin, "rm", "-q", "fieldmark/old.py")
    git(origin, "commit", "-qm", "less")
    apart.checkout(project, origin / "params" / "papers.yaml")
    assert not (project / "fieldmark" / "old.py").exists() and not (project / "data" / "trained").exists()


def test_code_that_is_not_committed_is_not_tested(origin: Path, tmp_path: Path) -> None:
    (origin / "stages" / "one.py").write_text("changed")
    with pytest.raises(FieldmarkError, match="commit them"):
        apart.checkout(tmp_path / "project", origin / "params" / "papers.yaml")


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(FieldmarkError, match="use some of .*papers"):
        apart.main(["paper"])


def test_cells_side_by_side_give_the_bytes_of_stages_one_by_one(world: Path, tmp_path: Path) -> None:
    root = worlds.copy(world, tmp_path / "project")
    made = [root / "data" / stage / f"erm-{seed}" for stage in ("trained", "evaluated", "explained") for seed in (0, 1)]
    for path in [*made, root / "data" / "report"]:
        for file in [path, *path.parent.glob(f"{path.name}.*")]:
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
    cells.main(root, workers=2)
    shutil.rmtree(root / "data" / "wired")  # for DVC, which the world did without
    assert worlds.files(root / "data") == worlds.files(world / "data")


def test_a_cell_that_breaks_stops_those_that_wait(world: Path, tmp_path: Path) -> None:
    root = worlds.copy(world, tmp_path / "project")
    for made in ("trained", "evaluated", "explained"):
        shutil.rmtree(root / "data" / made)
    model, seed = cells.cells(load(root / "params.yaml"), 1)[0]
    layout.trained(root, model, seed).mkdir(parents=True)  # without weights: an error that is no FieldmarkError
    with pytest.raises(FileNotFoundError, match="weights"):
        cells.main(root, workers=1)
    done = [*(root / "data" / "explained").glob("*.json")]
    assert len(done) <= 3 < len(cells.cells(load(root / "params.yaml"), 1)), "those that had been handed out"


def test_cells_side_by_side_are_of_two_seeds(world: Path) -> None:
    params = load(world / "params.yaml").model_copy(update={"seeds": [5, 6, 7], "models": dict.fromkeys("ab")})
    assert cells.cells(params, 2) == [("a", 5), ("a", 6), ("b", 5), ("b", 6), ("a", 7), ("b", 7)]
    assert cells.cells(params, 1) == [("a", 5), ("b", 5), ("a", 6), ("b", 6), ("a", 7), ("b", 7)]


def test_workers_end_with_who_hands_them_out(tmp_path: Path) -> None:
    hands_out = (
        "import sys, time; from concurrent.futures import ProcessPoolExecutor; from multiprocessing import get_context;"
        "from pipelines.cells import _settle; import os;"
        "pool = ProcessPoolExecutor(1, get_context('spawn'), _settle);"
        "print(pool.submit(os.getpid).result(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hands_out], cwd=apart.ROOT, stdout=subprocess.PIPE, text=True) as pool:
        assert pool.stdout
        worker = psutil.Process(int(pool.stdout.readline()))
        pool.kill()
    until(lambda: not worker.is_running())

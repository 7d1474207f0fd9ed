"""``make claims``: presets name what the ledger asks for, and a project of their own keeps its results."""

from pathlib import Path

import pytest
from tracked_project import git

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.params import load
from fieldmark.report.claims import CLAIMS, candidates
from pipelines import claims


def test_every_word_of_a_claim_is_in_a_preset() -> None:
    words = {word for path in claims.presets().values() for word in load(path).models}
    wanted = {model for claim in CLAIMS for side in claim.sides() for model in candidates(side)}
    assert wanted <= words


def test_presets_have_five_seeds() -> None:
    assert claims.presets() and all(len(load(path).seeds) >= 5 for path in claims.presets().values())


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
    monkeypatch.setattr(claims, "ROOT", root)
    return root


def test_a_preset_has_the_code_but_not_the_main_jobs_results(origin: Path, tmp_path: Path) -> None:
    project = claims.checkout(tmp_path / "project", origin / "params" / "papers.yaml")
    assert (project / "params.yaml").read_text() == "params/papers.yaml" and (project / "stages" / "one.py").exists()
    assert not (project / "dvc.lock").exists() and not [*project.glob("data/**/*.json")]
    assert not git(project, "status", "--porcelain").strip()


def test_a_second_call_takes_new_code_and_keeps_what_was_computed(origin: Path, tmp_path: Path) -> None:
    project = claims.checkout(tmp_path / "project", origin / "params" / "papers.yaml")
    (project / "dvc.lock").write_text("computed")
    git(origin, "rm", "-q", "fieldmark/old.py")
    git(origin, "commit", "-qm", "less")
    claims.checkout(project, origin / "params" / "papers.yaml")
    assert not (project / "fieldmark" / "old.py").exists() and (project / "dvc.lock").read_text() == "computed"


def test_code_that_is_not_committed_is_not_tested(origin: Path, tmp_path: Path) -> None:
    (origin / "stages" / "one.py").write_text("changed")
    with pytest.raises(FieldmarkError, match="commit them"):
        claims.checkout(tmp_path / "project", origin / "params" / "papers.yaml")


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(FieldmarkError, match="use some of papers"):
        claims.main(["paper"])

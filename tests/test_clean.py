"""``make clean`` in a repository with our ``.gitignore``."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
USED = (".gitignore", ".dvc/.gitignore", "Makefile", "fieldmark/core/telemetry.env")
COMMITTED = ("data/evaluated/erm-0.json", "data/report/leaderboard.json", "data/splits/wildstamps/0.json")
KEPT = ("mlruns/mlflow.db", "data/registered/ledger.jsonl", ".prefect/prefect.db", "data/noted.txt")
MADE = (
    ".venv/bin/python", ".cache/features/0", ".dvc/cache/files/0", ".dvc/tmp/lock", "data/evaluated/erm-0.parquet",
    "data/raw/shard.tar", "data/report/report.html", "data/splits/wildstamps/0/train.parquet", "data/trained/erm-0/log",
)  # fmt: skip


@pytest.mark.parametrize("place", ["", "projects/birds"])  # of the project in its repository
def test_it_removes_what_can_be_made_again_and_nothing_else(place: str, tmp_path: Path) -> None:
    root = tmp_path / place
    for name in (*USED, *COMMITTED, *KEPT, *MADE):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name in USED:
            shutil.copy(ROOT / name, root / name)
        else:
            (root / name).touch()
    for words in (["init", "--quiet", str(tmp_path)], ["add", *USED, *COMMITTED]):
        subprocess.run(["git", *words], cwd=root, check=True)
    subprocess.run(["make", "clean"], cwd=root, check=True, capture_output=True)
    left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert {name for name in left if not name.startswith(".git/")} == {*USED, *COMMITTED, *KEPT}

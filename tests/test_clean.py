"""``make clean`` in a repository with our ``.gitignore``."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
USED = (".gitignore", ".dvc/.gitignore", "Makefile", "fieldmark/core/telemetry.env")
COMMITTED = ("data/evaluated/erm-0.json", "data/report/leaderboard.json", "data/splits/wildstamps/0.json")
KEPT = ("mlruns/mlflow.db", ".prefect/prefect.db", "data/noted.txt")
MADE = (
    ".venv/bin/python", ".cache/features/0", ".dvc/cache/files/0", ".dvc/tmp/lock", "data/evaluated/erm-0.parquet",
    "data/raw/shard.tar", "data/report/report.html", "data/splits/wildstamps/0/train.parquet", "data/trained/erm-0/log",
)  # fmt: skip


def test_it_removes_what_can_be_made_again_and_nothing_else(tmp_path: Path) -> None:
    for name in (*USED, *COMMITTED, *KEPT, *MADE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name in USED:
            shutil.copy(ROOT / name, tmp_path / name)
        else:
            (tmp_path / name).touch()
    for words in (["init", "--quiet"], ["add", *USED, *COMMITTED]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in left if not name.startswith(".git/")} == {*USED, *COMMITTED, *KEPT}

"""The whole flow on drawn shapes, in this process: pull to report."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from tracked_project import ROOT, git

from fieldmark.core import params as parameters
from fieldmark.core.params import Params
from stages import embed, evaluate, explain, pull, report, split, train, validate

SMOKE = ROOT / "params" / "smoke.yaml"


def write_params(root: Path, **changes: object) -> None:
    """Write ``params.yaml``: the small one with some sections replaced."""
    values = yaml.safe_load(SMOKE.read_text()) | changes
    (root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def models() -> dict[str, object]:
    """Return the words of the small job."""
    words: dict[str, object] = yaml.safe_load(SMOKE.read_text())["models"]
    return words


def load(root: Path) -> Params:
    return parameters.load(root / "params.yaml")


def make(root: Path, mlruns: Path, **changes: object) -> Path:
    """Fill ``root`` with a committed project and all that its stages write up to the report."""
    shutil.copytree(mlruns, root / "mlruns")
    write_params(root, **changes)
    params = load(root)
    for name in (".gitignore", "requirements.lock", "bench/cost.json"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "data" / "claims", root / "data" / "claims")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "all")
    pull.main(params, root)
    validate.main(params, root)
    for seed in params.seeds:
        split.main(params, root, seed)
        embed.main(params, root, seed)
        for model in params.models:
            cell(params, root, model, seed)
    report.main(params, root)
    return root


def cell(params: Params, root: Path, model: str, seed: int) -> None:
    """Train and measure one cell."""
    for stage in (train, evaluate, explain):
        stage.main(params, root, model, seed)


def clone(into: Path) -> Path:
    """Return a copy of this repository's working tree, results aside."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", ":(exclude)dvc.lock")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists() and (not name.startswith("data/") or name.startswith("data/claims/")):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, into / name)
    return into


def copy(root: Path, into: Path) -> Path:
    """Return a copy whose files may be replaced, as the stages do, but not edited in place: they share their bytes."""
    shutil.copytree(root, into, copy_function=_shared, ignore=shutil.ignore_patterns("mlruns", "params.yaml"))
    shutil.copy(root / "params.yaml", into)
    shutil.copytree(root / "mlruns", into / "mlruns")
    return into


def _shared(file: str, into: str) -> None:
    """Link a file, but for a database: that is written in place."""
    (shutil.copy if file.endswith(".sqlite") else os.link)(file, into)


def files(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file under ``folder``."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def start(root: Path, *words: object, **environment: str) -> "subprocess.Popen[str]":
    """Start a stage as DVC does."""
    command = [sys.executable, "-m", *map(str, words)]
    known = {**os.environ, "DVC_ROOT": str(root), **environment}
    return subprocess.Popen(command, cwd=ROOT, env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def refused(process: "subprocess.Popen[str]", code: int = 1) -> str:
    """Return the one sentence with which a command fails."""
    _, said = process.communicate()
    assert process.returncode == code, said
    assert said.startswith("fieldmark: "), said
    assert said.count("\n") == 1, said
    return said

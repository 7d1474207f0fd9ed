"""``python -m pipelines.claims [PRESET...]``: put the papers' claims to the test, and bring the verdicts home.

Each of ``params/papers*.yaml`` runs in a project of its own under ``.cache/claims/``, with the code as it is committed:
the main job's results stay as they are. What was computed stays there; a second call goes on where the first stopped.
The verdicts land in ``data/claims/``, from where ``report`` takes them. Hours on two cores, for five seeds of a hundred
models: cells need no GPU, but use one where there is one.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from fieldmark.core.errors import FieldmarkError, exit_on_mistake
from fieldmark.core.store import atomic
from pipelines.graph import DVC

ROOT = Path(__file__).parent.parent
CODE = ("fieldmark", "stages", "pipelines", "params", "dvc.yaml")
OWN = ("data/", "dvc.lock")  # of the archive: results of the main job, not of the claims'
KEPT = ("claims.json", "leaderboard.json")  # small, and kept in git


def presets() -> dict[str, Path]:
    """Return the parameter files that claims are tested with, by name."""
    return {path.stem: path for path in sorted((ROOT / "params").glob("papers*.yaml"))}


def main(names: list[str]) -> None:
    """Run presets one after the other.

    Raises:
        FieldmarkError: no such preset, changes that are not committed, or a cell that failed.
    """
    known = presets()
    for name in names or [*known]:
        if name not in known:
            raise FieldmarkError(f"there is no preset '{name}': use some of {', '.join(known)}.")
        project = checkout(ROOT / ".cache" / "claims" / name, known[name])
        run(project, sys.executable, "-m", "pipelines.mend")
        run(project, *DVC, "repro", "report")
        keep(project / "data" / "report", ROOT / "data" / "claims" / name)
    print("the verdicts are in data/claims/: `dvc repro report` puts them on the page")


def checkout(project: Path, params: Path) -> Path:
    """Return a project of its own with this one's committed code and the preset's parameters; its results stay.

    Raises:
        FieldmarkError: this project's code differs from its commit, so that no one could tell what was tested.
    """
    if git(ROOT, "status", "--porcelain", "--", *CODE):
        raise FieldmarkError("code or parameters differ from the last commit: commit them, so that claims say of what.")
    for name in CODE:  # what the last commit had and this one has not must go
        shutil.rmtree(project / name, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(git(ROOT, "archive", "--format=tar", "HEAD"))) as archive:
        code = [member for member in archive if not member.name.startswith(OWN)]
        archive.extractall(project, code, filter="data")
    shutil.copy(params, project / "params.yaml")
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    who = ("-c", "user.name=fieldmark", "-c", "user.email=fieldmark@localhost")
    git(project, *who, "commit", "--quiet", "--allow-empty", "--message", "What claims are tested with")
    return project


def keep(found: Path, into: Path) -> None:
    """Copy what is small and worth keeping."""
    with atomic(into) as temporary:
        temporary.mkdir()
        for name in KEPT:
            shutil.copy(found / name, temporary)


def git(folder: Path, *words: str) -> bytes:
    """Run git and return what it says."""
    return subprocess.run(["git", *words], cwd=folder, check=True, stdout=subprocess.PIPE).stdout


def run(folder: Path, *command: str) -> None:
    """Run a command of Python's; what it says goes to the terminal.

    Raises:
        FieldmarkError: it failed.
    """
    if subprocess.run(command, cwd=folder).returncode:
        raise FieldmarkError(f"`{' '.join(command[1:])}` failed in {folder}: what it said stands above.")


def _command() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=f"some of {', '.join(presets())}; all by default")
    main(parser.parse_args().presets)


if __name__ == "__main__":
    exit_on_mistake(_command)

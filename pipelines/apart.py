"""``python -m pipelines.apart PRESET...``: run a file of ``params/`` in a project of its own; bring home what it says.

The project lies under ``.cache/apart/`` and has the code as it is committed: the main job's results stay as they are. A
second call goes on where the first stopped, and starts anew when code or parameters have changed. Leaderboard and
ledger of claims land in ``data/claims/``, from where ``report`` takes the verdicts of ``params/papers*.yaml``; the page
itself stays in the project. Hours on two cores for five seeds of a hundred models: cells need no GPU, but use one where
there is one.
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

ROOT = Path(__file__).parent.parent
CODE = ("fieldmark", "stages", "pipelines", "bench", "params", "dvc.yaml")
OWN = ("data/", "dvc.lock")  # of the archive: results of the main job, not of the preset's
MADE = ("splits", "embedded", "wired", "trained", "evaluated", "explained", "report")
KEPT = ("claims.json", "leaderboard.json")  # small, and kept in git


def presets() -> dict[str, Path]:
    """Return the parameter files there are, by name."""
    return {path.stem: path for path in sorted((ROOT / "params").glob("*.yaml"))}


def main(names: list[str]) -> None:
    """Run presets one after the other.

    Raises:
        FieldmarkError: no such preset, changes that are not committed, or a cell that failed.
    """
    known = presets()
    for name in names:
        if name not in known:
            raise FieldmarkError(f"there is no preset '{name}': use some of {', '.join(known)}.")
    for name in names:
        project = checkout(ROOT / ".cache" / "apart" / name, known[name])
        run(project, sys.executable, "-m", "pipelines.cells")
        keep(project / "data" / "report", ROOT / "data" / "claims" / name)
        shutil.rmtree(project / ".cache", ignore_errors=True)  # rendered and embedded pictures: gigabytes
        print(f"{name}: the page is {project / 'data' / 'report' / 'report.html'}")
    print("measures and verdicts are in data/claims/: `dvc repro report` shows those of papers' presets")


def checkout(project: Path, params: Path) -> Path:
    """Return a project of its own with this one's committed code and the preset's parameters.

    Its results stay if they were made with the same code and parameters.

    Raises:
        FieldmarkError: this project's code differs from its commit, so that no one could tell what was run.
    """
    if git(ROOT, "status", "--porcelain", "--", *CODE):
        raise FieldmarkError(
            "code or parameters differ from the last commit: commit them, so that results say of what."
        )
    for name in CODE:  # what the last commit had and this one has not must go
        shutil.rmtree(project / name, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(git(ROOT, "archive", "--format=tar", "HEAD"))) as archive:
        code = [member for member in archive if not member.name.startswith(OWN)]
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 has none: git's own archive
        archive.extractall(project, code)
    shutil.copy(params, project / "params.yaml")
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    if git(project, "diff", "--cached", "--name-only", "--", ".", ":(exclude)data"):
        for made in MADE:
            shutil.rmtree(project / "data" / made, ignore_errors=True)
        who = ("-c", "user.name=fieldmark", "-c", "user.email=fieldmark@localhost")
        git(project, *who, "commit", "--quiet", "--message", "What runs apart")
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
    parser.add_argument("presets", nargs="+", metavar="PRESET", help=f"some of {', '.join(presets())}")
    main(parser.parse_args().presets)


if __name__ == "__main__":
    exit_on_mistake(_command)

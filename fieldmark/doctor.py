"""What `fieldmark doctor` looks at: each finding with what to do about it."""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from fieldmark.core import layout
from fieldmark.core.errors import FieldmarkError
from fieldmark.tracking import database, lineage

NEEDED_GB = 5  # environment, data, features and caches of the default parameters


class Finding(NamedTuple):
    """One look at the machine or the project."""

    what: str
    good: bool
    found: str
    advice: str  # what to do if it is not good


def examine(root: Path) -> Iterator[Finding]:
    """Yield all findings; nothing is changed."""
    here = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= (3, 11), here, "install Python 3.11 or later, then make setup")
    yield _packages(root / "requirements.lock")
    apt = shutil.which("apt-get") is not None
    yield Finding("apt", apt, "found" if apt else "missing", "wildstamps needs it: cp params/shapes.yaml params.yaml")
    free = shutil.disk_usage(root).free / 1e9
    yield Finding("disk", free >= NEEDED_GB, f"{free:.0f} GB free", f"free at least {NEEDED_GB} GB")
    yield Finding("cores", True, str(os.cpu_count()), "")
    yield _gpu()
    yield _git(root)
    page = layout.report(root) / "report.html"  # dvc.lock and tables come with a clone; this is made where one runs
    yield Finding("report", page.exists(), str(page) if page.exists() else "not made here yet", "run make repro")
    yield _mlflow(root)


def render(findings: list[Finding]) -> str:
    """Return findings as text, advice only where it is needed.

    >>> print(render([Finding("cores", True, "2", ""), Finding("disk", False, "1 GB free", "free 4 GB")]))
    ok   cores     2
    MIND disk      1 GB free: free 4 GB
    """
    return "\n".join(
        f"{'ok  ' if one.good else 'MIND'} {one.what:9} {one.found}" + ("" if one.good else f": {one.advice}")
        for one in findings
    )


def _packages(lock: Path) -> Finding:
    if not lock.exists():
        return Finding("packages", False, f"there is no {lock.name} here", "run fieldmark from the project's folder")
    lines = [Requirement(line) for line in lock.read_text().splitlines() if "==" in line and not line.startswith("#")]
    pins = [line for line in lines if line.marker is None or line.marker.evaluate()]  # some are for other Pythons
    differ = [pin.name for pin in pins if str(pin.specifier) != f"=={_installed(pin.name)}"]
    found = f"{len(pins) - len(differ)} of {len(pins)} as locked" + (f", not {', '.join(differ[:5])}" if differ else "")
    return Finding("packages", not differ, found, "run make setup and use .venv/bin")


def _installed(name: str) -> str:
    """Return the installed version without its build (torch 2.13.0+cpu is 2.13.0); "" if there is none."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return ""


def _gpu() -> Finding:
    if shutil.which("nvidia-smi") is None:
        return Finding("gpu", True, "none: training runs on the CPU", "")
    import torch  # two seconds, and only where there may be one

    seen = torch.cuda.is_available()
    found = torch.cuda.get_device_name() if seen else f"there is one, but torch {torch.__version__} can't use it"
    return Finding("gpu", seen, found, "install a torch built for CUDA, or a newer driver; until then the CPU trains")


def _git(root: Path) -> Finding:
    try:
        state = lineage.code(root)
    except FieldmarkError as mistake:
        return Finding("git", False, "no commit", str(mistake))
    found = f"commit {state.commit[:12]}, {len(state.changed)} files changed since"
    return Finding("git", not state.changed, found, "commit them before a model is registered")


def _mlflow(root: Path) -> Finding:
    try:
        if not database.written(root):
            return Finding("mlflow", True, "no database yet: the first run makes it", "")
        uri = database.probe(root)
    except FieldmarkError as mistake:
        return Finding("mlflow", False, "no answer", str(mistake))
    asked = uri.startswith((database.SQLITE, "http"))
    return Finding("mlflow", True, database.shown(uri) + ("" if asked else " (not tried: only MLflow can)"), "")

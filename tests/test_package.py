"""The wheel holds the library and nothing else, and works where the repository is not; the README tells the truth."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import world as worlds
from tracked_project import ROOT

from fieldmark.core import plugins

DATA = {  # what is no Python
    "fieldmark/checks/page.html.j2", "fieldmark/core/telemetry.env", "fieldmark/datasets/wildstamps.csv",
    *(
        f"fieldmark/report/templates/{name}"
        for name in (
            "filter.js", "gallery.html", "leaderboard.html", "macros.html", "measures.html", "plots.html",
            "report.html", "sort.js", "strip.svg", "strips.html", "style.css",
        )
    ),
}  # fmt: skip


def run(folder: Path, *words: str, **environment: str) -> str:
    command, known = [sys.executable, *words], {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of the working tree."""
    root = worlds.clone(tmp_path_factory.mktemp("package") / "source")
    run(root, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", ".")
    (built,) = (root / "dist").iterdir()
    return built


def test_the_wheel_holds_the_library_alone(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"{wheel.name.split('-py3')[0]}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"fieldmark", info}
    code = {name for name in names if name.endswith(".py")}
    assert code == {str(path.relative_to(ROOT)) for path in (ROOT / "fieldmark").rglob("*.py")}
    assert {name for name in names - code if name.startswith("fieldmark/")} == DATA


def test_the_wheel_works_elsewhere(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "installed"
    run(tmp_path, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(place), str(wheel))
    alone = {"PYTHONPATH": str(place)}
    code = "import fieldmark; from fieldmark.core import plugins; print(fieldmark.__file__, *plugins.names('models'))"
    assert run(tmp_path, "-c", code, **alone).split() == [
        str(place / "fieldmark" / "__init__.py"), *plugins.names("models")
    ]  # fmt: skip
    assert "usage: fieldmark" in run(tmp_path, "-m", "fieldmark.cli", "--help", **alone)
    (entries,) = place.glob("fieldmark-*.dist-info/entry_points.txt")
    assert "fieldmark = fieldmark.cli:main" in entries.read_text()


def test_the_readme_lists_the_plugins_there_are() -> None:
    page = (ROOT / "README.md").read_text()
    listed = page.partition("<!-- plugins -->")[2].partition("<!-- /plugins -->")[0]
    assert listed.strip() == plugins.table()

"""The rules of the rooms, executable (CONTRIBUTING.md)."""

import ast
import itertools
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from fieldmark.core import plugins, telemetry, words

ROOT = Path(__file__).parent.parent
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def lookup(expression: str, item: dict[str, object]) -> object:
    value: object = {**PARAMS, "item": item}
    for step in expression.split("."):
        assert isinstance(value, dict)
        value = value[step]
    return value


def cells(stage: str) -> list[dict[str, object]]:
    """Return the matrix combinations of a stage; one empty combination if it has none."""
    matrix = DVC[stage].get("matrix", {})
    axes = [[(name, value) for value in lookup(source[2:-1], {})] for name, source in matrix.items()]
    return [dict(combination) for combination in itertools.product(*axes)]


def deps(stage: str, item: dict[str, object]) -> list[str]:
    return [
        re.sub(r"\$\{([^}]+)\}", lambda found: str(lookup(found[1], item)), dep) for dep in DVC[stage].get("deps", [])
    ]


def file_of(module: str) -> Path | None:
    path = ROOT / Path(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.exists()), None)


@cache
def reach(path: Path) -> frozenset[tuple[str, str]]:
    """Return what a file's code names: ("file", path) for imports, ("room", name) for plugin look-ups."""
    seen: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "plugins.find":
            room = node.args[0]
            assert isinstance(room, ast.Constant), f"{path}: a room is looked up by a literal, so that DVC can know it"
            seen.add(("room", str(room.value)))
        for module in modules:
            if module.split(".")[0] in ("fieldmark", "stages") and (found := file_of(module)):
                seen.add(("file", str(found.relative_to(ROOT))))
    return frozenset(seen)


#: What ``wire`` reads and does not run.
PLUGINS = ("fieldmark/backbones", "fieldmark/models", "fieldmark/objectives")


def wired(word: object) -> list[str]:
    """Return the files that ``data/wired/<word>.json`` speaks of: a cell that depends on it depends on these."""
    model = words.spelt_out(PARAMS)["models"][word]
    found = plugins.files("models", model["plugin"], model.get("options"))
    if backbone := model.get("backbone"):
        found += plugins.files("backbones", backbone["name"], backbone.get("options"))
    return found + plugins.files("objectives", model["objective"])


def docstring_only(path: Path) -> bool:
    return all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


def reached(stage: str, item: dict[str, object]) -> set[str]:
    """Return every code file that a cell of ``stage`` can run."""
    named = deps(stage, item)
    named += [file for word in [item.get("model")] if word for file in wired(word)]
    todo, files = [f"stages/{stage}.py"], set()
    while todo:
        file = todo.pop()
        if file in files:
            continue
        files.add(file)
        for kind, value in reach(ROOT / file):
            if kind == "file":
                todo.append(value)
            else:  # the plugins the cell looks up are those its deps name: one at least
                room = f"fieldmark/{value}"
                plugins = [dep for dep in named if dep.startswith(f"{room}/") and not dep.startswith(f"{room}/_")]
                if room in named:
                    plugins = [str(p.relative_to(ROOT)) for p in (ROOT / room).glob("[a-z]*.py")]
                assert plugins, f"{stage} looks up {room} but names none of its files"
                todo += plugins
    # a package that says only what it is changes no result; neither does the telemetry switch
    return {
        f
        for f in files
        if not (f.endswith("__init__.py") and (docstring_only(ROOT / f) or f == "fieldmark/__init__.py"))
    }


@pytest.mark.parametrize("stage", DVC)
def test_dvc_names_the_code_a_stage_can_run(stage: str) -> None:
    for item in cells(stage):
        code = [dep for dep in deps(stage, item) if dep.startswith(("fieldmark", "stages"))]
        files = reached(stage, item)
        if f"data/wired/{item.get('model')}.json" in deps(stage, item):
            files -= set(wired(item["model"]))
        if stage == "wire":  # it reads the plugins as files, and runs none of them
            code = [dep for dep in code if dep not in PLUGINS]
        assert not {f for f in files if not any(f == dep or f.startswith(f"{dep}/") for dep in code)}, "missing deps"
        data = {
            dep for dep in code if not dep.endswith(".py") and "." in Path(dep).name
        }  # tables shipped with the code
        idle = {dep for dep in code if dep not in data and not any(f == dep or f.startswith(f"{dep}/") for f in files)}
        assert not idle, "deps that the stage can't reach"


@pytest.mark.parametrize("stage", DVC)
def test_a_stage_is_a_file_a_command_and_a_folder(stage: str) -> None:
    source = (ROOT / "stages" / f"{stage}.py").read_text()
    assert DVC[stage]["cmd"].startswith(f"python -m stages {stage}")
    assert "def main(params: Params, root: Path" in source
    assert source.count("\n") <= 60, "stages hold no science"
    assert set(DVC[stage]["meta"]) == {"gpu", "timeout", "retries"}


def test_stages_import_without_side_effects() -> None:
    code = "; ".join(f"import stages.{stage}" for stage in DVC)
    heavy = (
        "{'great_expectations', 'albumentations', 'mlflow', 'prefect', 'transformers', 'matplotlib'} & set(sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print({heavy})"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "set()"


def test_byte_code_never_makes_results_stale() -> None:
    ignored = (ROOT / ".dvcignore").read_text().split()
    assert "__pycache__" in ignored and "*.pyc" in ignored


def test_every_tools_telemetry_is_off() -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import fieldmark, os; print(dict(os.environ))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": ""},
    )
    assert telemetry.switches().items() <= ast.literal_eval(run.stdout).items()
    assert set(telemetry.switches()) == {
        "DVC_NO_ANALYTICS",
        "PREFECT_SERVER_ANALYTICS_ENABLED",
        "DO_NOT_TRACK",
        "GX_ANALYTICS_ENABLED",
        "NO_ALBUMENTATIONS_UPDATE",
        "MLFLOW_DISABLE_TELEMETRY",
        "HF_HUB_DISABLE_TELEMETRY",
    }
    assert "include fieldmark/core/telemetry.env" in (ROOT / "Makefile").read_text()


def test_no_pickle_is_ever_loaded() -> None:
    for path in [*ROOT.glob("fieldmark/**/*.py"), *ROOT.glob("stages/*.py"), *ROOT.glob("pipelines/*.py")]:
        source = path.read_text()
        assert not re.search(r"\bimport pickle|pickle\.load|weights_only=False|allow_pickle=True", source), path


def test_files_fit_on_a_screen_or_two() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in ROOT.glob("fieldmark/**/*.py")
        if (lines := path.read_text().count("\n")) > 200
    }
    assert not long

"""Stages in forks of a process that has loaded all: nobody can tell, but by the time it takes."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from waiting import until

ROOT = Path(__file__).parent.parent
STAGE = """
import os, sys, time
import colour
if __name__ == "__main__":
    word, *rest = sys.argv[1:]
    if word == "tell":
        with open("told", "a") as stream:
            print("pipelines.warm" in sys.modules, colour.NAME, os.environ["WHO"], rest, file=stream)
        print("said"), print("complained", file=sys.stderr)
    if word == "end":
        sys.exit(int(rest[0]))
    if word == "break":
        raise ValueError("broken")
    if word == "die":
        os.kill(os.getpid(), 9)
    if word == "stay":
        try:
            open("stays", "w").write(str(os.getpid()))
            time.sleep(60)
        except KeyboardInterrupt:
            open("tidied", "w").close()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project with one stage, which imports a module of the project's package."""
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").touch()
    shutil.copy(ROOT / "stages" / "__main__.py", tmp_path / "stages")
    (tmp_path / "stages" / "toy.py").write_text(STAGE)
    (tmp_path / "colour.py").write_text("NAME = 'red'")
    return tmp_path


def shell(root: Path, script: str, *, warm: bool = True, before: str = "") -> "subprocess.Popen[str]":
    """Start a shell script, below a process that has loaded the toy stage if ``warm``; that begins with ``before``."""
    serve = before + "import sys; from pipelines.warm import *; code, order = serve(sys.argv[1:], ['stages.toy']); "
    command = [sys.executable, "-c", serve + "run(order) if order else sys.exit(code)"] if warm else []
    environ = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{ROOT}", "WHO": "outside"}
    stage = f'stage() {{ {sys.executable} -m stages toy "$@"; }}; '
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*command, "bash", "-c", stage + script], cwd=root, env=environ, text=True, **pipes)


def outcome(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Return exit code and output."""
    said, complained = process.communicate(timeout=60)
    return process.returncode, said, complained


@pytest.mark.parametrize("warm", [True, False])
def test_a_stage_has_its_own_words_environment_and_output(root: Path, warm: bool) -> None:
    process = shell(root, "WHO=inside stage tell a 1 > out 2> err; echo $?", warm=warm)
    assert outcome(process) == (0, "0\n", "")
    assert ((root / "out").read_text(), (root / "err").read_text()) == ("said\n", "complained\n")
    assert (root / "told").read_text() == f"{warm} red inside ['a', '1']\n"


@pytest.mark.parametrize("warm", [True, False])
def test_whoever_asks_sees_how_it_ended(root: Path, warm: bool) -> None:
    script = "for code in 0 1 75; do stage end $code; echo $?; done; stage break; echo $?; stage die; echo $?; exit 3"
    code, said, complained = outcome(shell(root, script, warm=warm))
    assert (code, said.split()) == (3, ["0", "1", "75", "1", "137"])
    assert "ValueError: broken" in complained


def test_stages_run_side_by_side_and_one_that_dies_keeps_nobody_waiting(root: Path) -> None:
    both = "stage stay & until [ -s stays ]; do sleep 0.05; done; stage die; echo $?; kill -9 $(cat stays); wait $!"
    assert outcome(shell(root, both + "; echo $?"))[1].split() == ["137", "137"]


@pytest.mark.parametrize("before", ["", "import signal; signal.signal(2, signal.SIG_IGN); "], ids=["", "background"])
def test_a_stage_ends_with_whoever_asked_for_it_and_may_tidy_up(root: Path, before: str) -> None:
    process = shell(root, f"exec {sys.executable} -m stages toy stay", before=before)
    stage = psutil.Process(int(until(lambda: (root / "stays").exists() and (root / "stays").read_text())))
    [asker] = [child for child in psutil.Process(process.pid).children() if child.pid != stage.pid]
    asker.send_signal(signal.SIGKILL)
    assert outcome(process)[0] == -signal.SIGKILL % 256
    until(lambda: not stage.is_running())
    assert (root / "tidied").exists()


def test_code_that_has_changed_is_loaded_anew(root: Path) -> None:
    process = shell(root, "stage tell; echo 'NAME = \"blue\"' > colour.py; touch stages/toy.py; stage tell")
    outcome(process)
    assert (root / "told").read_text() == "True red outside []\nFalse blue outside []\n"


def test_a_stage_without_input_starts_as_ever(root: Path) -> None:
    assert outcome(shell(root, "stage tell <&- ; echo $?; stage tell"))[:2] == (0, "said\n0\nsaid\n")
    assert [line.split()[0] for line in (root / "told").read_text().splitlines()] == ["False", "True"]


@pytest.mark.parametrize("order", ["", "line.sendall(bytes([0, 0, 0, 9]) + b'half')"], ids=["nothing", "half"])
def test_who_goes_before_it_has_asked_gets_nothing(root: Path, order: str) -> None:
    knock = f"import os, socket; line = socket.socket(1); line.connect(os.environ['FIELDMARK_WARM']); {order}"
    assert outcome(shell(root, f'{sys.executable} -c "{knock}"; stage tell'))[:2] == (0, "said\n")


def test_a_stage_there_is_none_of_is_a_sentence(root: Path) -> None:
    code, _, complained = outcome(shell(root, f"{sys.executable} -m stages sing"))
    assert (code, complained) == (1, "fieldmark: python -m stages got ['sing']: name one of toy.\n")

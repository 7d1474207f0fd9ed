"""Cells side by side, on the toy project: the bytes of plain ``dvc repro``, whatever happens on the way."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from toy_project import files, make, spans
from waiting import until

from pipelines.graph import Cell
from pipelines.mend import mend
from pipelines.parallel import stale

ROOT = Path(__file__).parent.parent
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
HERE = {**os.environ, "PATH": PATH, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "6"}  # a machine with one GPU
HEARING = "import runpy, signal, sys; signal.signal(2, signal.default_int_handler); del sys.argv[0]; "
START = HEARING + "runpy.run_module(sys.argv[0], None, '__main__', alter_sys=True)"
UP_TO_DATE = "Data and pipelines are up to date.\n"


def start(root: Path, module: str, *words: str) -> "subprocess.Popen[str]":
    """Start a module that listens to Ctrl-C: a job in the background is born deaf to it, and so may this test be."""
    command = [sys.executable, "-c", START, module, *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=root, env=HERE, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def outcome(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    said, complained = process.communicate(timeout=300)
    return process.returncode, said, complained


def parallel(root: Path, jobs: int = 2) -> tuple[int, str, str]:
    return outcome(start(root, "pipelines.parallel", "--jobs", str(jobs)))


def attempts(root: Path) -> dict[str, int]:
    """Return how often each cell was started."""
    return {path.name: path.read_text().count("start") for path in (root / "log").iterdir()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy project after plain `dvc repro`."""
    root = make(tmp_path_factory.mktemp("reference") / "toy")
    assert outcome(start(root, "dvc", "repro"))[0] == 0
    return root


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy project after two cells at a time."""
    root = make(tmp_path_factory.mktemp("done") / "toy", company=True)
    code, said, complained = parallel(root)
    assert (code, complained) == (0, "")
    assert said.count("Running stage 'train@a-0':\n> python cell.py train a-0 data/pull\n") == 1
    return root


def test_it_leaves_the_same_bytes_as_dvc(done: Path, reference: Path) -> None:
    assert files(done) == files(reference)
    found, expected = (yaml.safe_load((root / "dvc.lock").read_text()) for root in (done, reference))
    assert found == expected
    assert [*found["stages"]] == sorted(expected["stages"])


def test_cells_run_side_by_side_but_one_a_gpu(done: Path) -> None:
    trained = spans(done, "train")
    assert any(first[1] > second[0] for first, second in zip(trained, trained[1:], strict=False)), "one after the other"
    first, second = spans(done, "evaluated")
    assert first[1] <= second[0], "two cells on one GPU"
    assert (done / "log" / "evaluated-0").read_text().split()[2] == "6"


def test_what_is_up_to_date_is_left_alone(done: Path, reference: Path) -> None:
    assert parallel(done) == (0, UP_TO_DATE, "")
    assert outcome(start(done, "dvc", "repro"))[1].endswith(UP_TO_DATE)
    assert parallel(reference) == (0, UP_TO_DATE, "")
    assert {*attempts(done).values()} == {*attempts(reference).values()} == {1}


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # DVC's own
def test_what_has_changed_and_what_follows_may_have_to_run_in_the_order_of_the_graph(
    tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reference)
    assert stale() == []
    monkeypatch.chdir(root := make(tmp_path / "toy"))
    assert outcome(start(root, "dvc", "repro", "evaluated@1"))[0] == 0
    (root / "data" / "train" / "a-1" / "0.bin").unlink()
    assert stale() == [
        Cell("train@a-0", (), gpu=False, timeout=60, retries=2),
        Cell("train@a-1", (), gpu=False, timeout=60, retries=2),
        Cell("train@b-0", (), gpu=False, timeout=60, retries=2),
        Cell("evaluated@0", ("train@a-0", "train@b-0"), gpu=True, timeout=60, retries=0),
        Cell("evaluated@1", ("train@a-1",), gpu=True, timeout=60, retries=0),
        Cell("report", ("evaluated@0", "evaluated@1"), gpu=False, timeout=60, retries=0),
    ]


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")
def test_after_a_refusal_nothing_starts_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path / "toy")
    graph = (root / "dvc.yaml").read_text()
    refuse = "echo \"fieldmark: there is no 'dog'\" >&2; exit 1"
    either = f"case ${{item.model}}-${{item.seed}} in a-0) {refuse};; *) sleep 3; esac; python cell.py train"
    (root / "dvc.yaml").write_text(graph.replace("cmd: python cell.py train", f"cmd: >-\n      {either}"))
    code, said, complained = parallel(root)
    assert code == 1
    assert "fieldmark: there is no 'dog'\nERROR: failed to reproduce 'train@a-0'" in said
    assert complained == "fieldmark: train@a-0 failed, as said above; all that was done is kept for the next run.\n"
    assert attempts(root) == {"pull-all": 1, "train-a-1": 1}
    assert (root / "data" / "train" / "a-1" / "2.bin").exists()
    monkeypatch.chdir(root)
    todo = [cell.name for cell in stale()]
    assert todo == ["train@a-0", "train@b-0", "train@b-1", "evaluated@0", "evaluated@1", "report"]


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_when_it_is_stopped_all_stops_and_the_next_run_goes_on(tmp_path: Path, reference: Path, by: int) -> None:
    root = make(tmp_path / "toy")
    process = start(root, "pipelines.parallel", "--jobs", "2")
    until(lambda: list((root / "log").glob("train-*")))
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(by)
    code, _, complained = outcome(process)
    if by == signal.SIGINT:
        assert (code, complained) == (1, "fieldmark: stopped. What is done is kept for the next run.\n")
    until(lambda: not any(other.is_running() for other in family))
    assert any("end" not in path.read_text() for path in (root / "log").glob("train-*"))
    assert "report-all" not in attempts(root)
    mend(root)
    assert parallel(root)[0] == 0
    assert files(root) == files(reference)


@pytest.mark.parametrize("words", [("parallel", "--jobs", "-1"), ("flow", "--home", os.devnull, "--workers", "0")])
def test_less_than_one_cell_at_a_time_is_refused_not_waited_for(words: tuple[str, ...], tmp_path: Path) -> None:
    said = f"fieldmark: '{words[-1]}' is no number of cells at a time: give a whole one from 1 on, or none at all.\n"
    assert outcome(start(tmp_path, f"pipelines.{words[0]}", *words[1:])) == (1, "", said)


def test_a_graph_that_dvc_cannot_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    code, said, complained = parallel(tmp_path / "toy")
    assert (code, said) == (1, "")
    assert complained.startswith(f"fieldmark: dvc can't read the graph in {tmp_path / 'toy'}: ")
    assert complained.count("\n") == 1

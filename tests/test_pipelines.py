"""The flow against a real Prefect server and worker, on a toy DVC project; and each part by itself."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from toy_project import TROUBLES, files, make, spans
from waiting import until

from fieldmark.core.errors import FieldmarkError
from pipelines import graph, leash, slots
from pipelines.mend import mend
from pipelines.steps import CellFailedError, CellLostError, run, verdict

ROOT = Path(__file__).parent.parent
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
CODE = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
ENVIRONMENT = {**os.environ, "PATH": PATH, "PYTHONPATH": CODE, "CUDA_VISIBLE_DEVICES": "7"}  # a machine with one GPU


def locked(root: Path) -> Any:
    """Return dvc.lock; the order of its stages is the order in which they ran."""
    return yaml.safe_load((root / "dvc.lock").read_text())


def processes(*words: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if set(words) <= set(words_of(process))]


def descendants(parent: int, *words: str) -> list[psutil.Process]:
    return [p for p in psutil.Process(parent).children(recursive=True) if set(words) <= set(words_of(p))]


def words_of(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess):  # or a zombie
        return [word.rpartition("/")[2] for word in process.cmdline()]
    return []


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """The toy project after plain ``dvc repro``s, made while the server starts."""
    root = make(tmp_path_factory.mktemp("reference") / "toy", TROUBLES)
    again = 3  # times: the network fails once, orphan kills DVC once
    repro = f"{sys.executable} -m dvc repro --quiet --keep-going"
    with subprocess.Popen(
        ["sh", "-c", f"for time in $(seq {again}); do {repro}; done"],
        cwd=root, env=ENVIRONMENT, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        yield lambda: (process.wait(), root)[1]
        if process.poll() is None:  # no test asked for it
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def served(
    reference: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """``make serve``: server, worker and deployment, until a Ctrl-C that leaves nothing behind."""
    home = tmp_path_factory.mktemp("prefect")
    command = [sys.executable, "-u", "-m", "pipelines.serve", "--home", home, "--port", "0"]
    with (home / "serve.log").open("wb") as log:
        serve = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log)
    log_file = home / "serve.log"
    until(lambda: serve.poll() is not None or "open http" in log_file.read_text(), 120)
    assert serve.poll() is None, log_file.read_text()
    family = psutil.Process(serve.pid).children(recursive=True)
    yield serve, home
    serve.send_signal(signal.SIGINT)
    assert serve.wait(30) == 0
    assert not [process for process in family if process.is_running()]
    assert "stopped" in log_file.read_text().splitlines()


def flow(home: Path, root: Path) -> subprocess.Popen[str]:
    """``make flow``."""
    command = [sys.executable, "-u", "-m", "pipelines.flow", "--home", home, "--root", root]
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def test_the_flow_leaves_the_same_bytes_and_runs_cells_side_by_side(
    served: tuple[object, Path], reference: Callable[[], Path], tmp_path: Path
) -> None:
    root = make(tmp_path / "toy", company=True)
    output = (started := flow(served[1], root)).communicate(timeout=300)[0]
    assert started.returncode == 0, output + (served[1] / "serve.log").read_text()
    expected = {
        name: data for name, data in files(reference()).items() if not name.startswith(("data/fetched", "data/late"))
    }
    assert files(root) == expected and len(expected) == 3 * 8 + 2
    assert locked(root)["stages"].items() <= locked(reference())["stages"].items()
    trained = spans(root, "train")
    assert any(first[1] > second[0] for first, second in zip(trained, trained[1:], strict=False)), "one after the other"
    first, second = spans(root, "evaluated")
    assert first[1] <= second[0], "two cells on one GPU"
    assert (root / "log" / "evaluated-0").read_text().split()[2] == "7"
    with client(served[1]) as server:
        artifacts = {artifact.key: artifact.type for artifact in server.read_artifacts()}
    assert artifacts == {"graph": "markdown", "leaderboard": "table", "open": "markdown"}


def client(home: Path) -> SyncPrefectClient:
    return SyncPrefectClient(api=f"{(home / 'server.lock').read_text()}/api")


def test_the_flow_survives_what_kills_it_and_asks_no_mistake_twice(
    served: tuple[subprocess.Popen[bytes], Path], reference: Callable[[], Path], tmp_path: Path
) -> None:
    serve, home = served
    root = make(tmp_path / "toy", TROUBLES)
    started = flow(home, root)
    until(lambda: list((root / "log").glob("train-*")) and (root / "log" / "refuses").exists())
    [engine] = until(lambda: descendants(serve.pid, "prefect.engine"))
    engine.kill()  # the run, in the middle of cells
    [again] = until(lambda: [p for p in descendants(serve.pid, "prefect.engine") if p != engine])
    until(lambda: descendants(again.pid, "cell.py"))
    [worker] = [p for p in descendants(serve.pid, "worker") if "leash.py" not in words_of(p)]
    worker.kill()  # and then the worker, while the second attempt goes on
    output = started.communicate(timeout=300)[0]
    assert started.returncode == 1
    assert "Crashed" in output
    with client(home) as server:
        [lost] = [flow_run for flow_run in server.read_flow_runs() if flow_run.run_count > 1]
        states = [f"{state.timestamp} {state.name} {state.message}" for state in server.read_flow_run_states(lost.id)]
    assert lost.run_count == 2, "not started again once:\n" + "\n".join(states)
    assert "1 of 11 cells did not finish: refuses" in output
    assert files(root) == files(reference())
    assert locked(root) == locked(reference())
    assert (root / "log" / "refuses").read_text() == "try\n" * 2, "a refusal is asked once an attempt"
    assert (root / "log" / "network").read_text() == "try\n" * 2
    # the reference has no leash, so its orphan may still sleep: only what runs in this project is the flow's
    assert not [p for p in processes("sleep", "61.25") if p.cwd() == str(root)], "an orphan goes on"
    until(lambda: "worker is gone: starting another" in (home / "serve.log").read_text())


@pytest.mark.parametrize(
    ("code", "line", "kind", "says"),
    [
        (255, "ERROR: failed to reproduce 'x': failed to run: cmd, exited with 1", CellFailedError, "exited with 1"),
        (255, "ERROR: failed to reproduce 'x': failed to run: cmd, exited with -9", CellLostError, "exited with -9"),
        (255, "ERROR: failed to reproduce 'x': failed to run: cmd, exited with 75", CellLostError, "exited with 75"),
        (255, "ERROR: failed to reproduce 'x': '/a' is busy, it is being blocked by:", CellLostError, "is busy"),
        (255, "ERROR: Unable to acquire lock. Most likely another DVC process", CellLostError, "acquire lock"),
        (255, "'./dvc.lock' validation failed.", CellLostError, "see its log"),
        (255, "the stage says: exited with -9", CellFailedError, "see its log"),
        (137, "", CellLostError, "exit code 137"),
        (-9, "", CellLostError, "exit code -9"),
    ],
)
def test_only_what_may_pass_is_tried_again(code: int, line: str, kind: type[Exception], says: str) -> None:
    found = verdict("x", code, [line])
    assert type(found) is kind
    assert says in str(found)


def test_a_mistake_of_the_user_is_passed_on_in_its_own_words() -> None:
    found = verdict("x", 255, ["fieldmark: no scene: add one", "ERROR: failed to run: cmd, exited with 1"])
    assert str(found) == "x failed: no scene: add one"


def test_a_cell_that_takes_too_long_ends_with_all_its_children(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(TimeoutError, match="longer than 1 s"):
        run(["sh", "-c", "printf '10%%\\r50%%\\n'; sleep 62.5 & sleep 62.5"], tmp_path, 1, said.append)
    assert said == ["50%"]
    assert not processes("sleep", "62.5")


def test_a_run_goes_on_when_nobody_reads_what_it_says() -> None:
    said = "import logging, os, sys; from pipelines.console import Console; log = logging.getLogger()\n"
    said += "log.addHandler(Console()); sys.stdin.read(); log.warning('more'); log.warning('more'); os._exit(7)"
    command = [sys.executable, "-c", said]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stderr
        process.stderr.close()
        process.stdin.close()
        assert process.wait() == 7


def test_a_command_on_a_leash_dies_with_whoever_started_it() -> None:
    code = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, {leash.__file__!r}, 'sleep', '63.5'],"
        "stdin=subprocess.PIPE, start_new_session=True).wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as starter:
        until(lambda: processes("sleep", "63.5"))
        starter.kill()
    until(lambda: not processes("sleep", "63.5"), 10)


def test_the_graph_is_dvcs_own(tmp_path: Path) -> None:
    cells = {cell.name: cell for cell in graph.read(make(tmp_path / "toy")).cells}
    assert set(cells) == {
        "pull",
        "train@a-0",
        "train@a-1",
        "train@b-0",
        "train@b-1",
        "evaluated@0",
        "evaluated@1",
        "report",
    }
    assert cells["pull"].after == ()
    assert set(cells["evaluated@1"].after) == {"train@a-1", "train@b-1"}
    assert cells["train@a-0"] == graph.Cell("train@a-0", ("pull",), gpu=False, timeout=60, retries=2)
    (tmp_path / "toy" / "dvc.yaml").write_text("stages: [")
    with pytest.raises(FieldmarkError, match="can't read the graph"):
        graph.read(tmp_path / "toy")


def test_one_cell_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert slots.gpus() == ["3", "5"]
    with slots.take(tmp_path) as first, slots.take(tmp_path) as second:
        assert (first.gpu, second.gpu) == ("3", "5")
        with pytest.raises(KeyboardInterrupt), slots.take(tmp_path, sleep=no_more):
            raise AssertionError("a third cell got a GPU")
    with slots.take(tmp_path) as free:
        assert free.gpu == "3"


def no_more(seconds: float) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("visible", ["", "-1"])
def test_a_machine_without_a_gpu_has_no_slots(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert slots.gpus() == []


LOCK = """schema: '2.0'
stages:
  pull:
    cmd: python -m stages.pull
    outs:
    - path: data/raw
      hash: md5
      md5: 0123456789abcdef0123456789abcdef.dir
      size: 12
  train@a-0:
    cmd: python -m stages.train a 0
    deps:
    - path: data/raw
      hash: md5
      md5: 0123456789abcdef0123456789abcdef.dir
      size: 12
"""


@pytest.fixture
def done(tmp_path: Path) -> Path:
    """What a DVC that was killed leaves: its lock file and its temporary folder."""
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / "dvc.lock").write_text(LOCK)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def test_what_is_whole_is_not_mended(done: Path) -> None:
    assert mend(done) == []
    assert (done / "dvc.lock").read_text() == LOCK


@pytest.mark.parametrize("kept", ["", "schema: '2", LOCK[: LOCK.index("a 0")] + "a 0\n    deps:\n    - pa"])
def test_a_lock_file_that_was_cut_off_is_put_back(done: Path, kept: str) -> None:
    (done / "dvc.lock").write_text(kept)
    assert mend(done) == ["dvc.lock was cut off in the middle of a write: it is made anew."]
    assert not (done / "dvc.lock").exists()
    (done / "dvc.lock").write_text(LOCK)
    for command in (["add", "dvc.lock"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"]):
        subprocess.run(["git", *command], cwd=done, check=True)
    (done / "dvc.lock").write_text(kept)
    assert mend(done) == ["dvc.lock was cut off in the middle of a write: the committed one is back."]
    assert (done / "dvc.lock").read_text() == LOCK


def test_files_that_a_dead_dvc_locked_are_free_again(done: Path) -> None:
    table = done / ".dvc" / "tmp" / "rwlock"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "dvc", "repro"]) as alive:
        mine, theirs = {"pid": alive.pid, "cmd": "dvc repro"}, {"pid": os.getpid(), "cmd": "dvc repro"}
        gone = {"pid": 2**22 + 1, "cmd": "dvc repro"}  # above the largest number Linux gives
        table.write_text(
            json.dumps({"write": {"/a": gone, "/b": mine, "/c": theirs}, "read": {"/d": [gone, mine], "/e": [gone]}})
        )
        assert mend(done) == ["files locked by a DVC that is gone are free again."]
        assert json.loads(table.read_text()) == {"write": {"/b": mine}, "read": {"/d": [mine]}}
        assert mend(done) == []
        alive.kill()
    table.write_text('{"write": {')
    assert mend(done) == ["DVC's table of busy files was cut off in the middle of a write: it is made anew."]
    assert not table.exists()


def test_the_nightly_deployment_is_what_the_launcher_asks_for() -> None:
    [deployment] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert deployment["name"] == "reproduce"
    assert deployment["schedules"] == [{"slug": "nightly", "cron": "0 2 * * *", "active": True}]
    assert deployment["work_pool"] == {"name": "fieldmark"}
    assert deployment["concurrency_limit"] == 1


def test_killed_at_random_moments_and_run_again_ends_in_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "bench/kill.py", "--project", make(tmp_path / "toy"), "--kills", "3", "--seed", "3"]
    bench = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert bench.returncode == 0, bench.stdout + bench.stderr
    assert "3 kills: the same bytes" in bench.stdout

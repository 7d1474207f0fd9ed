"""A DVC project of a few seconds, shaped like the real one: pull, cells of a matrix, a GPU stage, a leaderboard."""

import atexit
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

CELL = """
import os, sys, time
from pathlib import Path
stage, cell, source = sys.argv[1:]
log = Path(os.environ["DVC_ROOT"]) / "log" / f"{stage}-{cell}"
log.parent.mkdir(exist_ok=True)
def note(word):
    with log.open("a") as stream:
        stream.write(f"{word} {time.time()} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}\\n")
note("start")
late = time.time() + 30  # by then it is alone
while stage == "train" and Path("company").exists() and len([*log.parent.glob("train-*")]) < 2 and time.time() < late:
    time.sleep(0.05)
out = Path("data") / stage / cell
out.mkdir(parents=True, exist_ok=True)
content = b"".join(path.read_bytes()[:64] for path in sorted(Path(source).rglob("*")) if path.is_file())
for part in range(3):
    (out / f"{part}.bin").write_bytes((content + cell.encode() + bytes([part])) * 2000)
    time.sleep(0.3 if stage == "train" else 0.05)
if stage == "report":
    Path("data/report/leaderboard.json").write_text('[{"model": "a", "mean": 1.0}]')
    Path("data/report/report.html").write_text("<p>who looks where</p>")
note("end")
"""

GRAPH = """
stages:
  pull:
    cmd: python cell.py pull all params.yaml
    deps: [cell.py]
    params: [models, seeds]
    outs: [data/pull]
    meta: {gpu: false, timeout: 60, retries: 0}
  train:
    matrix: {model: "${models}", seed: "${seeds}"}
    cmd: python cell.py train ${item.model}-${item.seed} data/pull
    deps: [cell.py, data/pull]
    outs: ["data/train/${item.model}-${item.seed}"]
    meta: {gpu: false, timeout: 60, retries: 2}
  evaluated:
    matrix: {seed: "${seeds}"}
    cmd: python cell.py evaluated ${item.seed} data/train/a-${item.seed}
    deps: [cell.py, "data/train/a-${item.seed}", "data/train/b-${item.seed}"]
    outs: ["data/evaluated/${item.seed}": {cache: false}]
    meta: {gpu: true, timeout: 60, retries: 0}
  report:
    cmd: python cell.py report all data/evaluated
    deps: [cell.py, data/evaluated/0, data/evaluated/1]
    outs: [data/report: {cache: false}]
    meta: {gpu: false, timeout: 60, retries: 0}
"""

#: Each goes wrong in its own way the first time, or always.
TROUBLES = """
  refuses:
    cmd: "echo try >> log/refuses; echo \\"fieldmark: there is no 'dog': use bird\\" >&2; exit 1"
    deps: [data/pull]
    outs: [data/refused]
    meta: {gpu: false, timeout: 60, retries: 3}
  network:
    cmd: echo try >> log/network; [ $(wc -l < log/network) -gt 1 ] || exit 75; echo got > data/fetched
    deps: [data/pull]
    outs: [data/fetched]
    meta: {gpu: false, timeout: 60, retries: 3}
  orphan:  # kills DVC, its parent, and would go on alone for a minute
    cmd: echo try >> log/orphan; [ $(wc -l < log/orphan) -gt 1 ] || { kill -9 $PPID; sleep 61.25; }; echo > data/late
    deps: [data/pull]
    outs: [data/late]
    meta: {gpu: false, timeout: 60, retries: 3}
"""


def make(root: Path, troubles: str = "", company: bool = False) -> Path:
    """Write and commit the project; ``log/`` tells who ran when and is no output.

    With ``company``, the first training waits for another to start: on a busy machine, a process takes longer to start
    than a training to end.
    """
    shutil.copytree(_empty(), root)
    if company:
        (root / "company").touch()
    (root / "cell.py").write_text(CELL)
    (root / "dvc.yaml").write_text(GRAPH + troubles)
    (root / "params.yaml").write_text("models: [a, b]\nseeds: [0, 1]\n")
    (root / ".gitignore").write_text("log/\n.cache/\ndata/\n")
    who = ["-c", "user.name=toy", "-c", "user.email=toy@example.org"]
    for words in (["add", "--all"], [*who, "commit", "--quiet", "--message", "toy"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    (root / "log").mkdir()
    return root


@cache
def _empty() -> Path:
    """Return a project of DVC's without a graph, made once."""
    root = Path(tempfile.mkdtemp(prefix="toy-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    dvc = [sys.executable, "-m", "dvc"]
    for command in (
        ["git", "init", "--quiet"],
        [*dvc, "init", "--quiet"],
        [*dvc, "config", "cache.type", "hardlink,copy"],
    ):
        subprocess.run(command, cwd=root, check=True)
    return root


def spans(root: Path, stage: str) -> list[tuple[float, float]]:
    """Return when each cell of a stage ran: the last start and end in its log."""
    logs = [(root / "log" / path.name).read_text().split("\n") for path in (root / "log").glob(f"{stage}-*")]
    times = [{line.split()[0]: float(line.split()[1]) for line in log if line} for log in logs]
    return sorted((time["start"], time["end"]) for time in times)


def files(root: Path) -> dict[str, bytes]:
    """Return the bytes of all that the project made."""
    return {str(p.relative_to(root)): p.read_bytes() for p in (root / "data").rglob("*") if p.is_file()}

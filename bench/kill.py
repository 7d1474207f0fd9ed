"""Claim: a killed ``make repro``, run again, ends in the same bytes as one that nobody disturbed.

    python bench/kill.py [--project FOLDER] [--params FILE] [--kills 10] [--seed 0]

One clone of the project's last commit runs in peace. Another is killed with SIGKILL, its whole process group, again
and again at random moments spread over the time the first one took; each run goes on where the last one died. What a
killed DVC can't mend itself ``python -m pipelines.mend`` does before each run, and says so. Exit code 1 if any byte of
``COMPARED`` differs.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fieldmark.core.store import sha256

CODE = Path(__file__).parent.parent
COMPARED = ("dvc.lock", "data/evaluated", "data/explained", "data/report/leaderboard.json")


def clone(project: Path, into: Path, params: Path | None) -> Path:
    """Clone the last commit of ``project``, without DVC's cache, and steer it with ``params``."""
    shutil.rmtree(into, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", project.resolve(), into], check=True)
    if params:  # committed, for registration takes nothing else
        shutil.copy(params, into / "params.yaml")
        who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        subprocess.run(["git", "-C", into, *who, "commit", "--quiet", "--all", "--message", "bench"], check=True)
    return into


def start(root: Path) -> subprocess.Popen[bytes]:
    """Mend what the last run left, then start what ``make repro`` does, in a process group of its own."""
    subprocess.run([sys.executable, "-m", "pipelines.mend", root], cwd=CODE, check=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "pipelines.warm", sys.executable, "-m", "pipelines.parallel", "--jobs", "2"]
    environ, nowhere = {**os.environ, "PATH": path}, subprocess.DEVNULL
    return subprocess.Popen(command, cwd=root, env=environ, stdout=nowhere, start_new_session=True)


def finish(root: Path) -> None:
    """Run to the end."""
    if code := start(root).wait():
        sys.exit(f"the job in {root} failed with exit code {code}: run `make repro` there to see why")


def digest(root: Path) -> dict[str, str]:
    """Return the sha256 of every file of ``COMPARED`` that the project has."""
    found = [path for name in COMPARED for path in [root / name, *(root / name).rglob("*")] if path.is_file()]
    return {str(path.relative_to(root)): sha256(path) for path in found}


def disturb(project: Path, params: Path | None, into: Path, kills: int, seconds: float, chance: random.Random) -> Path:
    """Kill ``kills`` runs, starting from a new clone whenever one got to its end; return the folder of the last."""
    root = clone(project, into, params)
    done = 0
    while done < kills:
        moment = chance.uniform(0, 2 * seconds / kills)
        process = start(root)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            done += 1
            print(f"kill {done} of {kills} after {moment:.2f} s", flush=True)
        if process.wait() == 0:
            root = clone(project, into, params)
    return root


def main(project: Path, params: Path | None, kills: int, seed: int) -> bool:
    """Run in peace and disturbed; return whether the bytes are the same."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        peace = clone(project, Path(folder) / "peace", params)
        begin = time.monotonic()
        finish(peace)
        seconds = time.monotonic() - begin
        print(f"undisturbed: {seconds:.1f} s, {len(digest(peace))} files to compare", flush=True)
        root = disturb(project, params, Path(folder) / "disturbed", kills, seconds, random.Random(seed))
        finish(root)
        expected, found = digest(peace), digest(root)
        differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        print(f"{kills} kills: " + (f"differing {differing}" if differing else "the same bytes"), flush=True)
        return bool(expected) and not differing


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=CODE)
    parser.add_argument("--params", type=Path, help="used instead of the project's params.yaml")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    sys.exit(not main(**vars(parser.parse_args())))

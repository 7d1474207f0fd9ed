"""``python -m pipelines.mend [FOLDER]``: undo what a killed DVC leaves behind, so that the next one just goes on.

DVC rewrites ``dvc.lock`` and ``.dvc/tmp/rwlock`` in place. A kill in the middle leaves them cut off, and DVC then
refuses to start until someone removes them by hand; so it does when a dead owner's process number is somebody else's.
"""

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from fieldmark.core.store import atomic

#: Words of a command line that is DVC's.
NAMES = ("dvc", "pipelines.fastdvc", "pipelines.parallel")


def mend(root: Path) -> list[str]:
    """Repair DVC's files in ``root`` and return one sentence for each repair; safe beside a running DVC."""
    temporary = root / ".dvc" / "tmp"
    if not temporary.exists():
        return []
    said = []
    with _held(temporary / "lock"):
        if (root / "dvc.lock").exists() and not _whole(root / "dvc.lock"):
            said.append(_restore(root))
    with _held(temporary / "rwlock.lock"):
        said += _release(temporary / "rwlock")
    return said


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold one of DVC's own file locks: DVC keeps none while a command runs, and the system frees a dead one's."""
    with path.open("a+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _whole(path: Path) -> bool:
    """Tell whether DVC would accept this lock file; one that was cut off between two stages is fine, just shorter."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.load(path.read_text(), yaml.CSafeLoader))
    except (yaml.YAMLError, Invalid):
        return False
    return True


def _restore(root: Path) -> str:
    """Put the committed ``dvc.lock`` back, or none; what was done since is found again in DVC's run cache."""
    committed = subprocess.run(["git", "show", "HEAD:./dvc.lock"], cwd=root, capture_output=True)
    if committed.returncode == 0:
        with atomic(root / "dvc.lock") as path:
            path.write_bytes(committed.stdout)
        return "dvc.lock was cut off in the middle of a write: the committed one is back."
    (root / "dvc.lock").unlink()
    return "dvc.lock was cut off in the middle of a write: it is made anew."


def _release(path: Path) -> list[str]:
    """Drop the entries of ``rwlock`` whose owner is gone, or all of them if the file was cut off."""
    if not path.exists():
        return []
    try:
        held: dict[str, dict[str, Any]] = json.loads(path.read_text())
    except json.JSONDecodeError:
        path.unlink()
        return ["DVC's table of busy files was cut off in the middle of a write: it is made anew."]
    write = {file: owner for file, owner in held.get("write", {}).items() if _is_dvc(owner["pid"])}
    readers = {file: [o for o in owners if _is_dvc(o["pid"])] for file, owners in held.get("read", {}).items()}
    alive = {"write": write, "read": {file: owners for file, owners in readers.items() if owners}}
    if alive == {"write": held.get("write", {}), "read": held.get("read", {})}:
        return []
    with atomic(path) as new:
        new.write_text(json.dumps(alive))
    return ["files locked by a DVC that is gone are free again."]


def _is_dvc(pid: int) -> bool:
    """Tell whether process ``pid`` runs, and still is DVC rather than a newcomer with a dead one's number."""
    try:
        return any(Path(word).name in NAMES for word in psutil.Process(pid).cmdline()[:4])
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # another user's: believe the lock
        return True


if __name__ == "__main__":
    for sentence in mend(Path(*sys.argv[1:])):
        print(f"fieldmark: {sentence}")

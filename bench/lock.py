"""Claim: ``pipelines.fastdvc`` reads and writes the lock file several times as fast as DVC alone, with the same bytes.

Both enter one cell after the other into a copy of this project's ``dvc.lock``, reading it before; prints the seconds of
each and the ratio. Other bytes are exit code 1.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dvc.utils.serialize import modify_yaml, parse_yaml

from pipelines.fastdvc import MEMO, modified, parsed

CELLS = 3
LOCK = Path(__file__).parent.parent / "dvc.lock"
WAYS = {"DVC alone": (parse_yaml, modify_yaml), "pipelines.fastdvc": (parsed, modified)}


def measure(folder: Path, read: Any, change: Any) -> tuple[float, bytes]:
    """Return the seconds a cell takes, and what the lock file is in the end."""
    (folder / MEMO.parent).mkdir(parents=True)
    lock = Path(shutil.copy(LOCK, folder))
    for cell in range(CELLS + 1):
        if cell == 1:  # what was written here before is known
            start = time.perf_counter()
        read(lock.read_text(), str(lock))
        with change(str(lock)) as data:
            deps = [{"path": "cell.py", "hash": "md5", "md5": "1e" * 16, "size": cell}]
            data["stages"]["without_end"] = {"cmd": "python cell.py", "deps": deps}
    return (time.perf_counter() - start) / CELLS, lock.read_bytes()


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measure(Path(folder, name), *way) for name, way in WAYS.items()}
    for name, (seconds, _) in found.items():
        print(f"{name}: {seconds:.2f} s a cell")
    (slow, expected), (fast, written) = found.values()
    if written != expected:
        sys.exit("other bytes")
    print(f"{slow / fast:.1f} times as fast")


if __name__ == "__main__":
    main()

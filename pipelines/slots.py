"""GPU slots: one cell a GPU, on a machine that may be shared by several servers and clones."""

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

#: The server's limit on GPU cells of this machine: what people see. The guard itself is the lock file of each GPU.
LIMIT = f"gpu-{socket.gethostname()}"


#: Of all projects of this user: a GPU knows no clones.
SHARED = Path(tempfile.gettempdir()) / f"fieldmark-gpus-{os.getuid()}"


class Slot(NamedTuple):
    """A GPU that is ours; the lock lasts as long as any process has ``lock`` open."""

    gpu: str
    lock: int  # file descriptor: hand it to the cell, so that a cell that outlives us keeps its GPU


def gpus() -> list[str]:
    """Return the identifiers of the GPUs this process may use, in CUDA's own words; none on a machine without."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu for gpu in visible.split(",") if gpu not in ("", "-1")]
    if not (tool := shutil.which("nvidia-smi")):
        return []
    listing = subprocess.run([tool, "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True)
    return listing.stdout.split() if listing.returncode == 0 else []


@contextmanager
def take(folder: Path = SHARED, sleep: Callable[[float], None] = time.sleep) -> Iterator[Slot]:
    """Wait for one of this machine's GPUs and hold it; the lock files are ``folder/gpu-<id>.lock``."""
    folder.mkdir(parents=True, exist_ok=True)
    while not (slot := next((slot for gpu in gpus() if (slot := _try(folder, gpu))), None)):
        sleep(0.5)
    try:
        yield slot
    finally:
        os.close(slot.lock)


def _try(folder: Path, gpu: str) -> Slot | None:
    lock = os.open(folder / f"gpu-{gpu}.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return Slot(gpu, lock)

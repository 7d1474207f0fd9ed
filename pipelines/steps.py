"""One task = one cell: ``dvc repro --single-item CELL`` in a process of its own that dies with its task."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import IO, Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency

from pipelines import leash, slots
from pipelines.graph import DVC, HINT, Cell
from pipelines.mend import mend

#: What may pass: a command ended by SIGHUP, SIGINT, SIGKILL or SIGTERM, or that asks to be tried again (EX_TEMPFAIL:
#: 75); another DVC at the same files; a file of DVC's that a killed neighbour left cut off, until ``mend`` has seen it.
MAY_PASS = re.compile(
    r"^ERROR: .*exited with (-1|-2|-9|-15|129|130|137|143|75)$"
    r"|^ERROR: .*(is busy, it is being blocked by|[Uu]nable to acquire lock|Unable to read RWLock-file)"
    r"|dvc\.lock' (validation failed|is invalid|structure is corrupted)",
    re.MULTILINE,
)

#: Commands that run now; ``stop_all`` ends them.
_running: set[subprocess.Popen[bytes]] = set()


class CellFailedError(Exception):
    """A cell said no; the same command would say it again."""


class CellLostError(Exception):
    """A cell was lost for reasons that may pass; the same command may succeed."""


def may_pass(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Retry a cell that was lost, and never one that failed for reasons of data or code, or that took too long."""
    return isinstance(state.data, CellLostError)


@task(
    task_run_name="{cell.name}",
    cache_policy=NO_CACHE,  # what is up to date is DVC's to say
    persist_result=False,
    retry_condition_fn=may_pass,
)
def reproduce_cell(cell: Cell, root: Path) -> None:
    """Bring one cell up to date.

    Raises:
        CellFailedError: the cell's own refusal, or a mistake in its code.
        CellLostError: a lock, the network or a lost process.
        TimeoutError: it took longer than its ``timeout``.
    """
    log = get_run_logger()
    for sentence in mend(root):
        log.warning(sentence)
    with ExitStack() as held:
        slot = None
        if cell.gpu and slots.gpus():
            held.enter_context(concurrency(slots.LIMIT, occupy=1, strict=True))
            slot = held.enter_context(slots.take())
        code, lines = run([*DVC, "repro", "--single-item", cell.name], root, cell.timeout, log.info, slot)
    if code:
        raise verdict(cell.name, code, lines)


def run(
    command: list[str], root: Path, timeout: float, say: Callable[[str], None], slot: slots.Slot | None = None
) -> tuple[int, list[str]]:
    """Run ``command`` on a leash in ``root``; return its exit code and its output, which ``say`` got line by line.

    Raises:
        TimeoutError: it did not end within ``timeout`` seconds and was killed with all its children.
    """
    lines: list[str] = []

    def listen(stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode(errors="replace").rstrip().rpartition("\r")[2]  # of a progress bar, its last state
            if not HINT.match(text):
                lines.append(text)
                say(text)

    with _leashed(command, root, slot) as process:
        assert process.stdout is not None
        listener = Thread(target=listen, args=(process.stdout,))
        listener.start()
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{command[-1]} took longer than {timeout:g} s and was stopped.") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what a killed DVC or a stage left running
            listener.join()
    return code, lines


@contextmanager
def _leashed(command: list[str], root: Path, slot: slots.Slot | None) -> Iterator[subprocess.Popen[bytes]]:
    bin_folder = str(Path(sys.executable).parent)  # `python` in dvc.yaml is the Python that runs this
    environment = {**os.environ, "PATH": os.pathsep.join([bin_folder, os.environ["PATH"]]), "PYTHONUNBUFFERED": "1"}
    if slot:
        environment["CUDA_VISIBLE_DEVICES"] = slot.gpu
    with subprocess.Popen(
        [sys.executable, leash.__file__, *command],
        cwd=root,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(slot.lock,) if slot else (),
        start_new_session=True,
    ) as process:
        _running.add(process)
        try:
            yield process
        finally:
            _running.discard(process)


def stop_all() -> None:
    """Let go of every leash: a flow that is stopped must not wait for cells that go on for hours."""
    for process in list(_running):
        assert process.stdin is not None
        process.stdin.close()


def verdict(cell: str, code: int, lines: list[str]) -> Exception:
    """Say why a cell ended with a code other than 0.

    >>> verdict("train@a", 255, ["fieldmark: no such label: 'dog'", "ERROR: ... exited with 1"])
    CellFailedError("train@a failed: no such label: 'dog'")
    >>> verdict("train@a", 137, [])
    CellLostError('train@a was lost (exit code 137)')
    """
    mistakes = [line.removeprefix("fieldmark: ") for line in lines if line.startswith("fieldmark: ")]
    if not mistakes and (code < 0 or code in (129, 130, 137, 143)):  # the leash or DVC itself was killed
        return CellLostError(f"{cell} was lost (exit code {code})")
    errors = [line for line in lines if line.startswith("ERROR: ")]
    reason = (mistakes or errors or [f"exit code {code}, see its log"])[-1]
    if MAY_PASS.search("\n".join(lines[-20:])):
        return CellLostError(f"{cell} was lost: {reason}")
    return CellFailedError(f"{cell} failed: {reason}")

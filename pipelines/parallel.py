"""``python -m pipelines.parallel [--jobs N]``: what ``dvc repro`` does, with the same bytes, several cells at a time.

DVC runs one cell after the other, and most cells keep one core busy. Here DVC says once what is not up to date; then
each of these cells is reproduced, as soon as those it reads from are, by a DVC of its own in a fork of this process,
which has loaded DVC and done nothing else.
"""

import argparse
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from graphlib import TopologicalSorter
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread

import psutil
from dvc.exceptions import DvcException
from dvc.repo import Repo
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from fieldmark.core.errors import FieldmarkError, exit_on_mistake
from fieldmark.core.params import load
from pipelines import fastdvc, leash, slots
from pipelines.graph import HINT, Cell, at_a_time

FORK = get_context("fork")  # safe: this process has one thread, and has computed nothing
LATE = ("dvc.commands.repro", "dvc.repo.reproduce", "dvc.stage.cache", "dvc.stage.run", "dvc_data.hashfile.build")
MEMORY = 1.5e9  # bytes that a cell may want
TICK = 0.5  # seconds between two looks at what runs
GRACE = 5.0  # seconds that a cell has to tidy up after a Ctrl-C
TAIL = 400  # bytes in which the last state of a progress bar is found


class Running:
    """A cell that runs, and the row of the terminal where the last of what it says is shown."""

    def __init__(self, cell: Cell, ends: tuple[int, int], shown: Progress) -> None:
        self.name, self._shown = cell.name, shown
        self._row = shown.add_task(cell.name, total=None, said="")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = FORK.Process(target=reproduce, args=(cell, self._log.fileno(), *ends))
        self._process.start()
        assert self._process.pid is not None
        self._pid, self.sentinel = self._process.pid, self._process.sentinel

    def show(self) -> None:
        """Show the last of what it said."""
        size = os.fstat(self._log.fileno()).st_size
        words = os.pread(self._log.fileno(), TAIL, max(0, size - TAIL)).decode(errors="replace")
        self._shown.update(self._row, said=re.split(r"[\r\n]+", words.strip())[-1])

    def end(self) -> int | None:
        """Wait for its end, say all that it said, and return its exit code."""
        self._process.join()
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)  # what a killed DVC left running
        self._shown.remove_task(self._row)
        self._log.seek(0)
        with self._log:
            for line in self._log.read().decode(errors="replace").split("\n"):
                if not HINT.match(text := line.rpartition("\r")[2]):
                    self._shown.console.out(text, highlight=False)
        return self._process.exitcode


def main(jobs: int) -> None:
    """Bring every cell of the project in this folder up to date, at most ``jobs`` at a time.

    Raises:
        FieldmarkError: DVC can't read the project, or a cell failed; those that ran beside it are finished first.
    """
    with ProcessPoolExecutor(1, FORK) as other:
        cells = {cell.name: cell for cell in other.submit(stale).result()}
        if "register" in cells and (refusal := other.submit(refused).result()):
            print(f"fieldmark: everything but register will run: {refusal}")
    if not cells:
        print("Data and pipelines are up to date.")
    elif failed := side_by_side(cells, jobs):
        raise FieldmarkError(f"{', '.join(failed)} failed, as said above; all that was done is kept for the next run.")


def side_by_side(cells: dict[str, Cell], jobs: int) -> list[str]:
    """Run ``cells``, of those that can run the first ones first; return the names of those that failed."""
    order = TopologicalSorter({cell.name: cell.after for cell in cells.values()})
    order.prepare()
    ready: list[str] = []
    failed: list[str] = []
    running: list[Running] = []
    done = 0
    held, holds = os.pipe()  # every cell stops when nobody holds the second one any more, however that came about
    with progress() as shown:
        total = shown.add_task("cells", total=len(cells), said="")
        try:
            while running or (order.is_active() and not failed):
                ready = sorted([*ready, *order.get_ready()], key=[*cells].index)
                while ready and len(running) < jobs and not failed:
                    running.append(Running(cells[ready.pop(0)], (held, holds), shown))
                for cell in ended(running, shown):
                    running.remove(cell)
                    if cell.end():
                        failed.append(cell.name)
                    else:
                        order.done(cell.name)
                        done += 1
                        shown.update(total, completed=done, said=f"{done} of {len(cells)}")
        finally:
            os.close(holds)
            for cell in running:
                cell.end()
            os.close(held)
    return failed


def progress() -> Progress:
    """Return the rows of the terminal; without a thread of their own, as this process forks."""
    words = TextColumn("{task.fields[said]}", markup=False, table_column=Column(no_wrap=True, ratio=1))
    columns = TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn(), words
    return Progress(*columns, auto_refresh=False, expand=True, redirect_stdout=False, redirect_stderr=False)


def ended(running: list[Running], shown: Progress) -> Iterator[Running]:
    """Wait a moment, show what is going on, and return who has ended."""
    over = wait([cell.sentinel for cell in running], TICK)
    for cell in [*running]:
        cell.show()
        if cell.sentinel in over:
            yield cell
    shown.refresh()


def stale() -> list[Cell]:
    """Return the cells that DVC finds changed and all that read from them, in the order of ``dvc.yaml``.

    Raises:
        FieldmarkError: DVC can't read the project.
    """
    try:
        with Repo() as repo:
            graph, changed = repo.index.graph, repo.status()
    except DvcException as error:
        raise FieldmarkError(f"dvc can't read the graph in {Path.cwd()}: {error}") from None
    reads = {stage.addressing: [other.addressing for other in graph[stage]] for stage in graph}
    todo: set[str] = set()
    for name in TopologicalSorter(reads).static_order():
        if name in changed or not todo.isdisjoint(reads[name]):
            todo.add(name)
    after = {name: tuple(other for other in reads[name] if other in todo) for name in todo}
    return [
        Cell(stage.addressing, after[stage.addressing], **stage.meta or {})
        for stage in graph
        if stage.addressing in todo
    ]


def refused() -> str:
    """Return what ``register`` would refuse as things stand, "" if nothing: it comes last, after all the work."""
    from fieldmark.tracking import lineage

    try:
        lineage.demand_committed(Path())
    except FieldmarkError as error:
        return str(error)
    return ""


def reproduce(cell: Cell, log: int, held: int, holds: int) -> None:
    """Be the process of a cell, on a GPU of its own if it wants one."""
    os.setsid()
    os.close(holds)
    for stream in (1, 2):
        os.dup2(log, stream)
    Thread(target=leash.follow, args=[held, GRACE], daemon=True).start()
    with ExitStack() as stack:
        if cell.gpu and slots.gpus():
            os.environ["CUDA_VISIBLE_DEVICES"] = stack.enter_context(slots.take()).gpu
        sys.exit(fastdvc.run(["--wait-for-lock", "repro", "--single-item", cell.name]))


def together() -> int:
    """Return how many cells keep this machine busy, as far as its memory goes."""
    cores = (os.cpu_count() or 1) // load(Path("params.yaml")).threads
    return max(1, min(cores, int(psutil.virtual_memory().available / MEMORY)))


def _command() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=at_a_time, help="cells at a time (default: as many as keep all cores busy)")
    jobs = parser.parse_args().jobs
    for module in LATE:
        import_module(module)
    try:
        main(jobs or together())
    except KeyboardInterrupt:
        raise FieldmarkError("stopped. What is done is kept for the next run.") from None


if __name__ == "__main__":
    exit_on_mistake(_command)

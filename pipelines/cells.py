"""``python -m pipelines.cells``: every cell of the project in this folder, in processes that have all loaded.

DVC starts three processes for a cell and writes its whole lock file after each: with some hundred cells that is most of
the time. Nothing is restored from a cache here and nothing is scheduled: stages run in the order of ``dvc.yaml``, and a
cell is done when its last file is there. For projects that hold one experiment and are thrown away
(``pipelines.apart``); people's own project is DVC's.
"""

import argparse
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

from tqdm import tqdm

from fieldmark.core import layout
from fieldmark.core.allocator import keep_memory
from fieldmark.core.errors import FieldmarkError, exit_on_mistake
from fieldmark.core.params import Params, load
from pipelines.graph import at_a_time

Cell = tuple[str, int]  # model, seed


def main(root: Path, *, workers: int | None = None) -> None:
    """Run what is not there yet, up to the report; change nothing that is.

    Args:
        root: the project.
        workers: cells at a time; by default as many as keep all cores busy.

    Raises:
        FieldmarkError: a cell failed; the others that had begun are finished first.
    """
    from stages import pull, report, validate, wire

    params = load(root / "params.yaml")
    workers = workers or max(1, (os.cpu_count() or 1) // params.threads)
    if not layout.index(root, params).exists():
        pull.main(params, root)
    validate.main(params, root)
    wire.main(params, root)
    seeds = [(seed,) for seed in params.seeds if not layout.embedded(root, params, seed).exists()]
    todo = [cell for cell in cells(params, workers) if not layout.explained(root, *cell).exists()]
    everywhere = get_context("spawn")  # a fork would copy locks that threads hold
    with ProcessPoolExecutor(workers, everywhere, _settle) as pool:
        _each(pool, "seed", shown, root, seeds)
        _each(pool, "cell", one, root, todo)
    report.main(params, root)


def _each(pool: Executor, unit: str, job: Callable[..., None], root: Path, todo: Sequence[tuple[Any, ...]]) -> None:
    """Do a job on all of ``todo``, side by side.

    Raises:
        FieldmarkError: one failed, and which.
    """
    running = {pool.submit(job, root, *words): words for words in todo}
    try:
        for done in tqdm(as_completed(running), desc=f"{unit}s", total=len(todo), unit=unit):
            done.result()
    except FieldmarkError as error:
        raise FieldmarkError(f"{'-'.join(map(str, running[done]))}: {error}") from error
    finally:
        for future in running:
            future.cancel()  # without one the rest would be in vain


def cells(params: Params, together: int) -> list[Cell]:
    """Return model and seed of every cell, as many seeds at a time as cells run together.

    What these seeds need is then in the machine's memory, and cells side by side are of two seeds: what one of them
    asks to be embedded the other does not need.
    """
    seeds = params.seeds
    turns = (seeds[start : start + together] for start in range(0, len(seeds), together))
    return [(model, seed) for turn in turns for model in params.models for seed in turn]


def shown(root: Path, seed: int) -> None:
    """Split the data and show every picture to the backbone, for one seed."""
    from stages import embed, split

    params = load(root / "params.yaml")
    if not layout.split(root, params, seed).exists():
        split.main(params, root, seed)
    embed.main(params, root, seed)


def one(root: Path, model: str, seed: int) -> None:
    """Train and measure one cell; what an interrupted run has made of it stays."""
    from stages import evaluate, explain, train

    params = load(root / "params.yaml")
    for stage, made in ((train, layout.trained), (evaluate, layout.evaluated), (explain, layout.explained)):
        if not made(root, model, seed).exists():
            stage.main(params, root, model, seed)


def _settle() -> None:
    keep_memory()
    Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # bars of processes that run side by side would write over each other


def _end_with_parent() -> None:
    """Wait for the end of the process that hands out cells: one that was killed can't tell the others."""
    if (parent := parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)


def _command() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=at_a_time, help="cells at a time (default: as many as keep all cores busy)")
    keep_memory()
    main(Path.cwd(), workers=parser.parse_args().workers)


if __name__ == "__main__":
    exit_on_mistake(_command)

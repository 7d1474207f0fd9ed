"""The memory-mapped cache of rendered pixels: every distinct render once, in a folder named by its content."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from fieldmark.core.store import atomic, fingerprint
from fieldmark.loading.keys import render_keys
from fieldmark.loading.render import render
from fieldmark.loading.sources import Sources

Maps = np.memmap[Any, np.dtype[np.uint8]]
CHUNK = 64  # recipes a worker takes at once: seconds of work, and few enough sources to decode


class Renders(NamedTuple):
    """The distinct renders of N recipes, U <= N of them."""

    folder: Path
    images_UHW3: Maps  # memory-mapped, read-only
    masks_UHW: Maps  # 255 on the visible object
    keys_U: list[str]  # render keys, sorted
    rows_N: npt.NDArray[np.int64]  # which render each recipe has


def rendered(
    recipes: pd.DataFrame, sources: Sources, size: int, folder: Path, *, workers: int = 0, desc: str = "render"
) -> Renders:
    """Return the pixels of ``recipes``, rendering what ``folder`` does not hold yet.

    The bytes do not depend on ``workers`` (0 or 1: in this process). A killed run leaves nothing that would be taken
    for a result. The folder can be deleted at any time.

    Raises:
        FieldmarkError: a recipe can't be rendered (see ``render``), or the disk is full.
    """
    keys_N = render_keys(recipes, sources.index, size)
    keys_U, first_U, rows_N = np.unique(np.array(keys_N, dtype=str), return_index=True, return_inverse=True)
    entry = folder / fingerprint(keys_U)
    if not entry.exists():
        with atomic(entry) as temporary:
            temporary.mkdir()
            _write(temporary, recipes.iloc[first_U], sources, size, workers, desc)
    return Renders(entry, *open_pixels(entry), keys_U.tolist(), rows_N.astype(np.int64))


def _write(folder: Path, recipes_U: pd.DataFrame, sources: Sources, size: int, workers: int, desc: str) -> None:
    """Render each recipe into its row of two new arrays."""
    for name, shape in {"images": (len(recipes_U), size, size, 3), "masks": (len(recipes_U), size, size)}.items():
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape).flush()
    numbered = recipes_U.assign(row=np.arange(len(recipes_U)))
    near = numbered.sort_values(["bg_source", "fg_source"])  # neighbours share sources: each is decoded about once
    chunks = [near.iloc[start : start + CHUNK] for start in range(0, len(near), CHUNK)]
    paint = partial(_paint, folder=folder, size=size)
    with tqdm(total=len(near), desc=desc, unit="image") as bar:
        for done in _mapped(paint, chunks, sources, workers):
            bar.update(done)
    for pixels in open_pixels(folder, "r+"):
        pixels.flush()  # to the disk, before the folder gets its name


def _mapped(paint: Callable[..., int], chunks: Sequence[pd.DataFrame], sources: Sources, workers: int) -> Iterator[int]:
    if workers < 2:  # one alone is no faster, and takes seconds to start
        yield from (paint(chunk, sources=sources) for chunk in chunks)
        return
    # spawn: a fork would copy whatever threads the caller's libraries hold, locks included
    opening = sources.root, sources.index, sources.memory
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, opening) as pool:
        yield from pool.map(paint, chunks)


_worker_sources: list[Sources] = []  # a worker's own, opened once


def _start_worker(root: Path, index: pd.DataFrame, memory: int) -> None:
    import cv2

    cv2.setNumThreads(0)  # the processes are the parallelism
    Thread(target=_die_with_parent, daemon=True).start()
    _worker_sources.append(Sources(root, index, memory=memory))


def _die_with_parent() -> None:
    """Leave no orphan behind when the parent is killed: a pool's worker would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _paint(chunk: pd.DataFrame, *, folder: Path, size: int, sources: Sources | None = None) -> int:
    """Render a chunk into its rows and return how many there were."""
    images_UHW3, masks_UHW = open_pixels(folder, "r+")
    for row, recipe in zip(chunk["row"], chunk.itertuples(index=False), strict=True):
        images_UHW3[row], masks_UHW[row] = render(recipe, sources or _worker_sources[0], size)
    return len(chunk)


def open_pixels(folder: Path, mode: Literal["r", "r+"] = "r") -> tuple[Maps, Maps]:
    """Memory-map the images (U, H, W, 3) and masks (U, H, W) of a cache entry."""
    images_UHW3, masks_UHW = (np.lib.format.open_memmap(folder / f"{name}.npy", mode) for name in ("images", "masks"))
    return images_UHW3, masks_UHW

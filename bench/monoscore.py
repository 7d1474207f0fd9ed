"""Claim: MonoScore of 8,192 sparse units over 50,000 images takes seconds in a bounded memory; all pairs take hours.

Prints one pass over all images and units, with what it adds to this process's memory at its peak; beside it all pairs
of images, for few images and units; and pairs as one would write them for sparse units, of the images that a unit fires
on, for all images and few units. What the pairs would take for the whole is extrapolated: the work grows with the
units, and with the images squared. Ratios are of processor time, which other work on the machine stretches less.
"""

import resource
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fieldmark.explain._monosemanticity import accumulate, unit

IMAGES, UNITS, DIMS, FIRING = 50_000, 8_192, 384, 0.015
FEW_IMAGES, FEW_UNITS = 3_000, 64
Floats = npt.NDArray[np.float64]


class Taken(NamedTuple):
    """The best of a few runs, in seconds."""

    wall: float
    processor: float


def drawn() -> tuple[sparse.csr_array, npt.NDArray[np.float32]]:
    """Draw activations, of which 1.5 % are not zero, and embeddings."""
    random = np.random.default_rng(0)
    each = int(FIRING * UNITS)  # of an image
    columns = random.integers(0, UNITS, IMAGES * each, dtype=np.int32)
    values, starts = random.random(IMAGES * each, dtype=np.float32), np.arange(0, IMAGES * each + 1, each)
    activations = sparse.csr_array((values, columns, starts), shape=(IMAGES, UNITS))
    activations.sum_duplicates()
    return activations, random.normal(size=(IMAGES, DIMS)).astype(np.float32)


def one_pass(activations: sparse.csr_array, embeddings_ND: npt.NDArray[np.float32]) -> Floats:
    """Return the scores by sums over images."""
    return accumulate(activations, embeddings_ND).scores().score_U


def all_pairs(activations: sparse.csr_array, embeddings_ND: npt.NDArray[np.float32]) -> Floats:
    """Return the scores as they are defined: the cosines of all pairs, weighed anew for each unit."""
    p_ND, scores = unit(embeddings_ND), []
    cosine_NN = p_ND @ p_ND.T
    np.fill_diagonal(cosine_NN, 0)
    for a_N in activations.toarray().astype(np.float64).T:
        a_N = a_N - a_N.min()
        scores.append(a_N @ cosine_NN @ a_N / (a_N.sum() ** 2 - a_N @ a_N))
    return np.array(scores)


def firing_pairs(activations: sparse.csr_array, embeddings_ND: npt.NDArray[np.float32]) -> Floats:
    """Return the scores of units whose smallest activation is zero, by pairs of images that they fire on."""
    columns, p_ND, scores = activations.tocsc().astype(np.float64), unit(embeddings_ND), []
    for start, stop in zip(columns.indptr, columns.indptr[1:], strict=False):
        a_n, p_nD = columns.data[start:stop], p_ND[columns.indices[start:stop]]
        cosine_nn = p_nD @ p_nD.T
        np.fill_diagonal(cosine_nn, 0)
        scores.append(a_n @ cosine_nn @ a_n / (a_n.sum() ** 2 - a_n @ a_n))
    return np.array(scores)


def taken(call: Callable[[], object], rounds: int = 3) -> Taken:
    """Return the shortest times of a few."""
    times = []
    for _ in range(rounds):
        wall, processor = time.perf_counter(), time.process_time()
        call()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return Taken(*map(min, zip(*times, strict=True)))


def peak() -> float:
    """Return the most memory this process ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def beside(name: str, pairs: Callable[..., Floats], activations: sparse.csr_array, looks_ND: npt.NDArray) -> float:
    """Print how a form by pairs does beside one pass, on the same data; return its processor time."""
    (images, units), calls = activations.shape, [partial(form, activations, looks_ND) for form in (pairs, one_pass)]
    by_pairs, once = map(taken, calls)
    differ = np.nanmax(np.abs(calls[0]() - calls[1]()))
    ratio = by_pairs.processor / once.processor
    print(
        f"{name}, {images:,} images x {units} units: {by_pairs.processor:.2f} s of processor time, one pass"
        f" {once.processor:.3f} s: {ratio:.0f} times as fast, scores within {differ:.0e}"
    )
    return by_pairs.processor


def main() -> None:
    """Measure."""
    activations, looks_ND = drawn()
    data = (activations.data.nbytes + activations.indices.nbytes + looks_ND.nbytes) / 2**20
    before = peak()
    once = taken(partial(one_pass, activations, looks_ND))
    print(
        f"one pass, {IMAGES:,} images x {UNITS:,} units, {activations.nnz:,} not zero, {DIMS} dimensions:"
        f" {once.wall:.1f} s, {once.processor:.1f} s of processor time; at its peak {peak() - before:.0f} MiB more than"
        f" the {data:.0f} MiB of data"
    )
    few = activations[:, :FEW_UNITS]
    defined = beside("all pairs", all_pairs, few[:FEW_IMAGES], looks_ND[:FEW_IMAGES])
    firing = beside("pairs that fire", firing_pairs, few, looks_ND)
    for name, seconds in {
        "all pairs": defined * UNITS / FEW_UNITS * (IMAGES / FEW_IMAGES) ** 2,
        "pairs that fire": firing * UNITS / FEW_UNITS,
    }.items():
        ratio = seconds / once.processor
        print(f"{name}, the whole, extrapolated: {seconds / 60:,.1f} minutes, {ratio:,.0f} times one pass")


if __name__ == "__main__":
    main()

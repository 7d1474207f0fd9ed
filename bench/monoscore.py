"""Claim: MonoScore of 8,192 sparse units over 50,000 images takes seconds and a bounded memory, not the hours of pairs.

Prints the time of one pass over 50,000 images, with what it added to the memory of this process at its peak; then one
pass and all pairs side by side, where pairs can still be afforded, with how far the two differ; and how long pairs would
take for all, where the cost grows with the units and with the square of the images.
"""

import resource
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fieldmark.explain._monosemanticity import MINIMUM, accumulate, unit

IMAGES, UNITS, DIMS, FIRING = 50_000, 8_192, 384, 0.015
SMALL = (1_000, 2_000, 4_000)  # images of the comparison
FEW = 32  # units of the comparison
Floats = npt.NDArray[np.float64]


def drawn(images: int, units: int) -> tuple[sparse.csr_array, npt.NDArray[np.float32]]:
    """Draw activations, of which 1.5 % are not zero, and embeddings."""
    random = np.random.default_rng(0)
    each = max(1, int(FIRING * units))  # of an image
    columns = random.integers(0, units, images * each, dtype=np.int32)
    values, starts = random.random(images * each, dtype=np.float32), np.arange(0, images * each + 1, each)
    activations = sparse.csr_array((values, columns, starts), shape=(images, units))
    activations.sum_duplicates()
    return activations, random.normal(size=(images, DIMS)).astype(np.float32)


def by_pairs(activations: sparse.csr_array, embeddings_ND: npt.NDArray[np.float32]) -> Floats:
    """Return the scores as they are defined: a matrix of cosines, a matrix of weights for each unit."""
    p_ND = unit(embeddings_ND)
    cosine_NN = p_ND @ p_ND.T
    np.fill_diagonal(cosine_NN, 0)
    scores = []
    for a_N in activations.toarray().astype(np.float64).T:
        a_N -= a_N.min()
        weight_NN = np.outer(a_N, a_N)
        np.fill_diagonal(weight_NN, 0)
        scores.append(np.vdot(weight_NN, cosine_NN) / weight_NN.sum())
    return np.array(scores)


def in_one_pass(activations: sparse.csr_array, embeddings_ND: npt.NDArray[np.float32]) -> Floats:
    """Return the same scores in one pass."""
    return accumulate(activations, embeddings_ND).scores(MINIMUM).score_U


def seconds(call: Callable[[], object], rounds: int = 3) -> float:
    """Return the shortest time of a few."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def peak() -> float:
    """Return the most memory this process ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure."""
    activations, embeddings_ND = drawn(IMAGES, UNITS)
    held = (activations.data.nbytes + activations.indices.nbytes + embeddings_ND.nbytes) / 2**20
    before = peak()
    once = seconds(lambda: in_one_pass(activations, embeddings_ND))
    print(
        f"one pass over {IMAGES:,} images x {UNITS:,} units, {activations.nnz:,} not zero, {DIMS} dimensions:"
        f" {once:.1f} s, {peak() - before:.0f} MiB at its peak beside {held:.0f} MiB of data"
    )
    for images in SMALL:
        few, looks_ND = drawn(images, FEW * 64)
        few = few[:, :FEW]  # as sparse as the whole
        difference = np.nanmax(np.abs(by_pairs(few, looks_ND) - in_one_pass(few, looks_ND)))
        pairs = seconds(lambda a=few, p=looks_ND: by_pairs(a, p), rounds=2)  # type: ignore[misc]
        single = seconds(lambda a=few, p=looks_ND: in_one_pass(a, p))  # type: ignore[misc]
        print(
            f"{images:,} images x {FEW} units: pairs {pairs:.2f} s, one pass {single:.4f} s: {pairs / single:.0f} times"
            f" as fast; scores differ by {difference:.0e} at most"
        )
    hours = pairs * UNITS / FEW * (IMAGES / images) ** 2 / 3600
    print(
        f"all pairs of {IMAGES:,} images, extrapolated: {hours:,.0f} hours, {hours * 3600 / once:,.0f} times one pass"
    )


if __name__ == "__main__":
    main()

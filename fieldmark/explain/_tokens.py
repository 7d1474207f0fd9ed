"""Pixels seen as tokens: token (i, j) of an h x w grid covers the pixels that nearest upsampling gives it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score

FloatArray = npt.NDArray[np.float64]
Probability = Callable[[FloatArray], FloatArray]  # weights (B, h, w) in [0, 1] -> probability (B,) of the label


def object_pixels(object_BHW: npt.NDArray[np.generic], h: int, w: int) -> FloatArray:
    """Return (B, h, w) how many object pixels each token covers; what isn't 0 is object.

    >>> object_pixels(np.array([[[0, 0, 1, 1], [0, 0, 1, 0]]]), 1, 2)
    array([[[0., 3.]]])
    """
    _, H, W = object_BHW.shape
    counts_BhW = np.add.reduceat(object_BHW != 0, _starts(H, h), axis=1, dtype=np.float64)
    return np.asarray(np.add.reduceat(counts_BhW, _starts(W, w), axis=2))


def token_pixels(H: int, W: int, h: int, w: int) -> FloatArray:
    """Return (h, w) how many pixels each token covers; they differ where h does not divide H.

    >>> token_pixels(2, 5, 1, 2)
    array([[6., 4.]])
    """
    return np.outer(np.diff(_starts(H, h), append=H), np.diff(_starts(W, w), append=W)).astype(np.float64)


def _starts(side: int, tokens: int) -> npt.NDArray[np.int64]:
    """Return the first pixel of each token along one side: pixel i belongs to token floor(i * tokens / side)."""
    return -(-np.arange(tokens) * side // tokens)


def one_cell(values_B: FloatArray, chance: float = float("nan")) -> Score:
    """Return the plain mean over examples as a score; NaN values are unknown and left out."""
    cells = np.full(len(values_B), "all")
    return Score(values_B, cells, np.arange(len(values_B)), chance=chance, weights={"all": 1.0})


def mean_known(values_B: FloatArray) -> float:
    """Return the mean of the known values; NaN, without a warning, when there is none."""
    known = values_B[~np.isnan(values_B)]
    return float(known.mean()) if len(known) else float("nan")

"""Pixels seen as tokens: token (i, j) of an h x w grid covers the pixels that nearest upsampling gives it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score

FloatArray = npt.NDArray[np.float64]
Probability = Callable[[FloatArray], FloatArray]  # weights (B, h, w) in [0, 1] -> probability (B,) of the label
Answers = Callable[..., FloatArray]  # weights (B, h, w) in [0, 1] -> probabilities (B, K)


class TopArea(NamedTuple):
    """The strongest pixels of a map, as many as the object has; equal ones straddle the cut."""

    sure: int  # object pixels above the cut
    wanted: int  # pixels still to be drawn from the tied ones
    pool: int  # tied pixels
    good: int  # object pixels among them
    area: int  # object pixels in all: none of the above counts where this is 0


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


def top_area(map_n: FloatArray, object_n: FloatArray, pixels_n: FloatArray) -> TopArea:
    """Return what the top-area rule keeps of one map: weight, object pixels and pixels of each token.

    >>> top_area(np.array([2.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0]), np.ones(3))
    TopArea(sure=1, wanted=1, pool=2, good=1, area=2)
    """
    area = int(object_n.sum())
    if area == 0:
        return TopArea(0, 0, 0, 0, 0)
    order = np.argsort(-map_n)
    cut = map_n[order][np.searchsorted(np.cumsum(pixels_n[order]), area)]  # weight of the last token that is needed
    above, tied = map_n > cut, map_n == cut
    wanted = area - int(pixels_n[above].sum())
    return TopArea(int(object_n[above].sum()), wanted, int(pixels_n[tied].sum()), int(object_n[tied].sum()), area)


def one_cell(values_B: FloatArray, chance: float = float("nan")) -> Score:
    """Return the plain mean over examples as a score; NaN values are unknown and left out."""
    cells = np.full(len(values_B), "all")
    return Score(values_B, cells, np.arange(len(values_B)), chance=chance, weights={"all": 1.0})


def mean_known(values_B: FloatArray) -> float:
    """Return the mean of the known values; NaN, without a warning, when there is none."""
    known = values_B[~np.isnan(values_B)]
    return float(known.mean()) if len(known) else float("nan")

"""Overlap of the mask's strongest pixels with the object, as many pixels as the object has.

Matching the area leaves no threshold to tune; the rule is part of the metric's name.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, mean_known, object_pixels, one_cell, token_pixels, top_area

HIGHER_IS_BETTER = True
MEANING = (
    "Intersection over union of the object and the mask's strongest pixels, as many of them as the object has;"
    " 1 = the mask is the object."
)


def score(
    map_Bhw: FloatArray,
    object_BHW: npt.NDArray[np.generic],
) -> dict[str, Score]:
    """Return ``mask_iou_top_area`` in [0, 1]; NaN for an example without object pixels.

    The mask is upsampled to pixels by nearest neighbour. Where equal weights straddle the cut, the value is the exact
    expectation over a random choice among the tied pixels: a uniform mask scores as a random one does, which is chance.
    """
    (h, w), (H, W) = map_Bhw.shape[1:], object_BHW.shape[1:]
    object_Bn = object_pixels(object_BHW, h, w).reshape(len(map_Bhw), -1)
    pixels_n = token_pixels(H, W, h, w).ravel()
    own_B, uniform_B = (
        np.array([expected_iou(*pair, pixels_n) for pair in zip(weights_Bn, object_Bn, strict=True)])
        for weights_Bn in (map_Bhw.reshape(object_Bn.shape), np.zeros(object_Bn.shape))
    )
    return {"mask_iou_top_area": one_cell(own_B, chance=mean_known(uniform_B))}


def expected_iou(map_n: FloatArray, object_n: FloatArray, pixels_n: FloatArray) -> float:
    """Return the expected IoU of the object with the top-area pixels, ties broken at random.

    Args:
        map_n: weight of each token.
        object_n: object pixels in each token.
        pixels_n: pixels in each token.

    One object pixel of two, tied: it is hit half of the time, with IoU 1, else 0.

    >>> round(expected_iou(np.array([1.0]), np.array([1.0]), np.array([2.0])), 6)
    0.5
    """
    sure, wanted, pool, good, area = top_area(map_n, object_n, pixels_n)
    if area == 0:
        return float("nan")
    hits = np.arange(max(0, wanted + good - pool), min(wanted, good) + 1)
    chances = np.exp(_log_choose(good, hits) + _log_choose(pool - good, wanted - hits) - _log_choose(pool, wanted))
    overlap = sure + hits
    return float(chances @ (overlap / (2 * area - overlap)))


def _log_choose(n: int, k: npt.ArrayLike) -> Any:
    """Return ln (n over k); built on it, the hypergeometric law is 700 times faster than scipy.stats' here."""
    return gammaln(n + 1) - gammaln(np.add(k, 1)) - gammaln(n + 1 - np.asarray(k))

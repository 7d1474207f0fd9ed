"""Relevance rank accuracy: of the map's strongest pixels, as many as the object has, the share on it.

From arXiv 2003.07258. Both areas being equal, it is also the map's precision, its recall and its Dice coefficient under
the top-area rule.
"""

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, mean_known, object_pixels, one_cell, token_pixels, top_area

HIGHER_IS_BETTER = True
MEANING = (
    "Of the map's strongest pixels, as many as the object has, the share that lies on it (their Dice coefficient);"
    " a map that is the same everywhere scores the object's area."
)


def score(
    map_Bhw: FloatArray,
    object_BHW: npt.NDArray[np.generic],
) -> dict[str, Score]:
    """Return ``rank_accuracy`` in [0, 1]; NaN for an example without object pixels.

    The map is upsampled to pixels by nearest neighbour; where equal weights straddle the cut, the value is the
    expectation over a random choice among the tied pixels. Chance is the object's share of the picture.
    """
    (h, w), (H, W) = map_Bhw.shape[1:], object_BHW.shape[1:]
    object_Bn = object_pixels(object_BHW, h, w).reshape(len(map_Bhw), -1)
    pixels_n, area_B = token_pixels(H, W, h, w).ravel(), object_Bn.sum(1) / (H * W)
    pairs = zip(map_Bhw.reshape(object_Bn.shape), object_Bn, strict=True)
    share_B = np.array([expected_share(*pair, pixels_n) for pair in pairs])
    return {"rank_accuracy": one_cell(share_B, chance=mean_known(np.where(area_B > 0, area_B, np.nan)))}


def expected_share(map_n: FloatArray, object_n: FloatArray, pixels_n: FloatArray) -> float:
    """Return the expected share on the object, ties broken at random; arguments as of ``top_area``.

    >>> expected_share(np.array([2.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0]), np.ones(3))
    0.75
    """
    top = top_area(map_n, object_n, pixels_n)
    return (top.sure + top.wanted * top.good / top.pool) / top.area if top.area else float("nan")

"""Pointing game: does the map's highest point lie on the object (arXiv 1608.00507)?

The original forgives 15 px; tokens are larger than that, so nothing is forgiven here.
"""

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, mean_known, object_pixels, one_cell, token_pixels

HIGHER_IS_BETTER = True
MEANING = (
    "Chance that the map's highest pixel lies on the object, drawn from equally high ones, without tolerance;"
    " a map that is the same everywhere scores the object's area."
)


def score(
    map_Bhw: FloatArray,
    object_BHW: npt.NDArray[np.generic],
) -> dict[str, Score]:
    """Return ``pointing_game`` in [0, 1]; NaN for an example without object pixels.

    All pixels of a token, and of equally high tokens, are tied: the value is the share of them on the object. Chance is
    the object's share of the picture.
    """
    (h, w), (H, W) = map_Bhw.shape[1:], object_BHW.shape[1:]
    object_Bhw = object_pixels(object_BHW, h, w)
    highest_Bhw = map_Bhw == map_Bhw.max((1, 2), keepdims=True)
    tied_B = (highest_Bhw * token_pixels(H, W, h, w)).sum((1, 2))
    area_B = object_Bhw.sum((1, 2)) / (H * W)
    area_B = np.where(area_B > 0, area_B, np.nan)
    hit_B = np.where(np.isnan(area_B), np.nan, (highest_Bhw * object_Bhw).sum((1, 2)) / tied_B)
    return {"pointing_game": one_cell(hit_B, chance=mean_known(area_B))}

"""Whether the mask prefers the picture's corners for being corners, where there is nothing to see.

ERSM's pairwise price (arXiv 2604.06893) sums over existing neighbours: a corner has 3 of 8, and is charged less.
"""

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, object_pixels, one_cell

HIGHER_IS_BETTER = None  # 0 is best
MEANING = (
    "Mean weight of the tokens in the picture's corners less that of its inner tokens, without those that hold any of"
    " the object; 0 = no preference."
)


def score(
    mask_Bhw: FloatArray,
    object_BHW: npt.NDArray[np.generic],
) -> dict[str, Score]:
    """Return ``border_bias`` in [-1, 1]; NaN where the object leaves no corner, or no inner token, free.

    A token is inner if it has all 8 neighbours: a map of less than 3 x 3 tokens has none.
    """
    h, w = mask_Bhw.shape[1:]
    free_Bhw = object_pixels(object_BHW, h, w) == 0
    rows_h, columns_w = (np.isin(np.arange(side), (0, side - 1)) for side in (h, w))
    corner_hw, inner_hw = np.outer(rows_h, columns_w), np.outer(~rows_h, ~columns_w)
    bias_B = mean_where(mask_Bhw, free_Bhw & corner_hw) - mean_where(mask_Bhw, free_Bhw & inner_hw)
    return {"border_bias": one_cell(bias_B, chance=0.0)}


def mean_where(mask_Bhw: FloatArray, chosen_Bhw: npt.NDArray[np.bool_]) -> FloatArray:
    """Return (B,) the mean over the chosen tokens; NaN, without a warning, when there is none.

    >>> mean_where(np.array([[[1.0, 2.0]], [[3.0, 4.0]]]), np.array([[[True, True]], [[False, False]]]))
    array([1.5, nan])
    """
    sums_B, counts_B = (mask_Bhw * chosen_Bhw).sum((1, 2)), chosen_Bhw.sum((1, 2))
    return np.asarray(np.divide(sums_B, counts_B, out=np.full(len(sums_B), np.nan), where=counts_B > 0))

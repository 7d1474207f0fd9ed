"""How well the mask's weights tell object tokens from the others, whatever their scale."""

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, object_pixels, one_cell, token_pixels

HIGHER_IS_BETTER = True
MEANING = "Chance that a token on the object has more weight than one beside it (area under the ROC curve)."


def score(
    map_Bhw: FloatArray,
    object_BHW: npt.NDArray[np.generic],
    *,
    share: float = 0.5,
) -> dict[str, Score]:
    """Return ``token_auc`` in [0, 1]; NaN where no token, or every token, is of the object.

    A token is of the object when at least ``share`` of its pixels are. Equal weights count half (Mann-Whitney).
    """
    (h, w), (H, W) = map_Bhw.shape[1:], object_BHW.shape[1:]
    object_Bn = (object_pixels(object_BHW, h, w) >= share * token_pixels(H, W, h, w)).reshape(len(map_Bhw), -1)
    return {"token_auc": one_cell(auc(map_Bhw.reshape(object_Bn.shape), object_Bn), chance=0.5)}


def auc(weights_Bn: FloatArray, positive_Bn: npt.NDArray[np.bool_]) -> FloatArray:
    """Return (B,) areas under the ROC curve, from ranks; NaN where a class is missing.

    >>> auc(np.array([[1.0, 2.0, 2.0, 3.0]]), np.array([[False, False, True, True]]))
    array([0.875])
    """
    positives_B, negatives_B = positive_Bn.sum(1), (~positive_Bn).sum(1)
    ranks_Bn = rankdata(weights_Bn, axis=1)
    wins_B = (ranks_Bn * positive_Bn).sum(1) - positives_B * (positives_B + 1) / 2
    comparisons_B = positives_B * negatives_B
    unknown_B = np.full(len(wins_B), np.nan)
    return np.asarray(np.divide(wins_B, comparisons_B, out=unknown_B, where=comparisons_B > 0))

"""Whether the mask keeps more where the object is larger: a density that adapts to its input."""

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, one_cell

HIGHER_IS_BETTER = True
MEANING = "Rank correlation, over images, of the mask's mean weight with the object's true area (Spearman)."


def score(
    mask_Bhw: FloatArray,
    object_BHW: npt.NDArray[np.generic],
) -> dict[str, Score]:
    """Return ``area_correlation`` in [-1, 1]; NaN when all masks, or all objects, are equally large.

    An observation is the product of an image's two standardised ranks, so that the mean is Spearman's coefficient. A
    bootstrap redraws these products and ranks nothing anew: ranks, means and spreads are those of all images.
    """
    kept_B, area_B = mask_Bhw.mean((1, 2)), (object_BHW != 0).mean((1, 2))
    return {"area_correlation": one_cell(standard_ranks(kept_B) * standard_ranks(area_B), chance=0.0)}


def standard_ranks(values_B: FloatArray) -> FloatArray:
    """Return ranks with mean 0 and mean square 1, ties sharing theirs; all NaN when all values are equal.

    >>> standard_ranks(np.array([7.0, 9.0, 7.0, 9.0]))
    array([-1.,  1., -1.,  1.])
    """
    centred_B = rankdata(values_B) - (len(values_B) + 1) / 2
    spread = np.sqrt((centred_B**2).mean())
    return np.asarray(centred_B / spread) if spread > 0 else np.full(len(values_B), np.nan)

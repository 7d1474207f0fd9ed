"""Whether neighbouring tokens share a fate, as a mask that follows things would have them.

A mask that keeps little differs little, so the difference is also told relative to that of any two tokens of the mask.
"""

import numpy as np

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, one_cell

HIGHER_IS_BETTER = None  # a mask that is the same everywhere is the smoothest
MEANING = (
    "Mean difference between the weights of neighbouring tokens, as it is and relative to any two tokens of the same"
    " mask (1 = as if the mask had been shuffled, 0 = smooth)."
)


def score(mask_Bhw: FloatArray) -> dict[str, Score]:
    """Return ``neighbour_difference`` in [0, 1] and ``neighbour_difference_relative``, whose chance is 1.

    The relative one is NaN for a mask that is the same everywhere; scaling the mask does not change it.
    """
    near_B, any_B = neighbour_difference(mask_Bhw), pair_difference(mask_Bhw.reshape(len(mask_Bhw), -1))
    relative_B = np.divide(near_B, any_B, out=np.full(len(any_B), np.nan), where=any_B > 0)
    return {
        "neighbour_difference": one_cell(near_B),
        "neighbour_difference_relative": one_cell(relative_B, chance=1.0),
    }


def neighbour_difference(mask_Bhw: FloatArray) -> FloatArray:
    """Return (B,) the mean of ``|u_i - u_j|`` over tokens that share an edge; NaN for a single token.

    >>> neighbour_difference(np.array([[[0.0, 1.0], [0.0, 0.0]]]))  # 2 of 4 edges
    array([0.5])
    """
    steps_BE = np.concatenate(
        [np.abs(np.diff(mask_Bhw, axis=axis)).reshape(len(mask_Bhw), -1) for axis in (1, 2)], axis=1
    )
    return np.asarray(steps_BE.mean(1)) if steps_BE.shape[1] else np.full(len(mask_Bhw), np.nan)


def pair_difference(weights_Bn: FloatArray) -> FloatArray:
    """Return (B,) the mean of ``|u_i - u_j|`` over all pairs of tokens (Gini's mean difference); NaN for one token.

    What shuffling the tokens would give on average. The gap between the k-th smallest of n and the next is spanned by
    k (n - k) pairs.

    >>> pair_difference(np.array([[0.0, 1.0, 0.0, 0.0]]))  # 3 of 6 pairs
    array([0.5])
    """
    n = weights_Bn.shape[1]
    if n < 2:
        return np.full(len(weights_Bn), np.nan)
    below = np.arange(1, n)
    return np.asarray(np.diff(np.sort(weights_Bn, axis=1)) @ (below * (n - below)) / (n * (n - 1) / 2))

"""How few tokens hold the map's weight: the Gini index, a measure of sparsity that keeps its sense for any size of map.

Hurley & Rickard (arXiv 0811.4706) show that it alone of the usual measures has all the properties one would ask for; as
a measure of explanations it is "sparseness" (arXiv 1810.06583).
"""

import numpy as np

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, one_cell

HIGHER_IS_BETTER = None  # a map may be sparse and wrong
MEANING = "How few tokens hold the map's weight (Gini index): 0 = all the same, near 1 = one token has it all."


def score(map_Bhw: FloatArray) -> dict[str, Score]:
    """Return ``gini`` in [0, 1 - 1/n] for n tokens; NaN for a map of zeros. Weights must not be negative."""
    return {"gini": one_cell(gini(map_Bhw.reshape(len(map_Bhw), -1)))}


def gini(weights_Bn: FloatArray) -> FloatArray:
    """Return (B,) the Gini index of non-negative weights.

    >>> gini(np.array([[0.0, 0.0, 0.0, 2.0], [1.0, 1.0, 1.0, 1.0]]))
    array([0.75, 0.  ])
    """
    n, total_B = weights_Bn.shape[1], weights_Bn.sum(1)
    leaning_B = np.sort(weights_Bn, axis=1) @ (2 * np.arange(1, n + 1) - n - 1)
    return np.asarray(np.divide(leaning_B, n * total_B, out=np.full(len(total_B), np.nan), where=total_B > 0))

"""How much the mask keeps, and how sharply: what a claim of sparsity is about.

No direction is better: a mask may be large and right, or small and wrong.
"""

import numpy as np

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, one_cell

HIGHER_IS_BETTER = None
MEANING = (
    "How much the mask keeps: its mean weight (area), the share of tokens above one half (active fraction), and how"
    " evenly its weight is spread (entropy; 1 = the same everywhere, 0 = all on one token)."
)


def score(mask_Bhw: FloatArray) -> dict[str, Score]:
    """Return ``mask_area``, ``active_fraction`` and ``mask_entropy``, each in [0, 1], of masks in [0, 1].

    The entropy does not depend on the mask's scale, the other two do.
    """
    weights_Bn = mask_Bhw.reshape(len(mask_Bhw), -1)
    return {
        "mask_area": one_cell(weights_Bn.mean(1)),
        "active_fraction": one_cell((weights_Bn > 0.5).mean(1)),
        "mask_entropy": one_cell(relative_entropy(weights_Bn)),
    }


def relative_entropy(weights_Bn: FloatArray) -> FloatArray:
    """Return (B,) the entropy of ``u / sum(u)`` over its largest value, ln n; NaN for a mask of zeros or one token.

    >>> relative_entropy(np.array([[0.2, 0.2, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    array([0.5, nan])
    """
    total_B, largest = weights_Bn.sum(1), np.log(weights_Bn.shape[1])
    known_B = (total_B > 0) & (largest > 0)
    share_Bn = weights_Bn / np.where(known_B, total_B, 1.0)[:, None]
    log_Bn = np.log(share_Bn, out=np.zeros_like(share_Bn), where=share_Bn > 0)  # 0 ln 0 is 0
    entropy_B = -(share_Bn * log_Bn).sum(1)
    return np.asarray(np.divide(entropy_B, largest, out=np.full(len(entropy_B), np.nan), where=known_B))

"""Deletion, least important first: does the answer survive on what the model calls important? (arXiv 2604.06893).

The same model is asked with three rankings of its tokens: by its own mask, by the magnitude of the features, at random.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, mean_known, one_cell

HIGHER_IS_BETTER = True
MEANING = (
    "Mean probability of the label while tokens are removed, least important first, from none to all: ranked by the"
    " mask (own), by the features' magnitude, or at random."
)


def score(
    map_Bhw: FloatArray,
    object_BHW: npt.NDArray[np.generic],
    *,
    magnitude_Bhw: FloatArray,
    key_B: npt.NDArray[np.int64],
    probability: Callable[[FloatArray], FloatArray],
    steps: int = 50,
) -> dict[str, Score]:
    """Return ``deletion_own``, ``deletion_magnitude`` and ``deletion_random`` in [0, 1].

    Each is the trapezoid area under the label's probability over the fraction of tokens removed, both ends included:
    0 (every token at weight 1, which is not the model as it runs when its mask is soft) and 1 (nothing left). Token by
    token, or in ``steps`` even strides where there are more tokens. Equal weights are removed in random order, so a
    uniform mask equals ``deletion_random``, whose mean is the chance level.
    """
    B, h, w = map_Bhw.shape
    random_Bn = np.array([_random_order(key, h * w) for key in key_B]).reshape(B, h * w)
    importances = {
        "deletion_own": map_Bhw.reshape(B, h * w),
        "deletion_magnitude": magnitude_Bhw.reshape(B, h * w),
        "deletion_random": random_Bn,
    }
    areas = {
        name: area(removal_ranks(importance_Bn, random_Bn).reshape(B, h, w), probability, steps)
        for name, importance_Bn in importances.items()
    }
    chance = mean_known(areas["deletion_random"])
    return {name: one_cell(area_B, chance) for name, area_B in areas.items()}


def removal_ranks(importance_Bn: FloatArray, random_Bn: FloatArray) -> npt.NDArray[np.int64]:
    """Return (B, n) when each token goes, 0 first: by importance, equal ones by ``random_Bn``.

    >>> removal_ranks(np.array([[0.5, 0.1, 0.1]]), np.array([[0.0, 2.0, 1.0]]))
    array([[2, 1, 0]])
    """
    order_Bn = np.lexsort((random_Bn, importance_Bn), axis=1)
    return np.argsort(order_Bn, axis=1)


def area(rank_Bhw: npt.NDArray[np.int64], probability: Callable[[FloatArray], FloatArray], steps: int) -> FloatArray:
    """Return (B,) the area under the label's probability while tokens go in the order of their rank."""
    tokens = int(np.prod(rank_Bhw.shape[1:]))
    removed_S = np.unique(np.linspace(0, tokens, min(tokens, steps) + 1).round().astype(int))
    curve_SB = np.stack([probability((rank_Bhw >= removed).astype(np.float64)) for removed in removed_S])
    return np.asarray(np.trapezoid(curve_SB, removed_S / tokens, axis=0))


def _random_order(key: np.int64, tokens: int) -> FloatArray:
    """Return a permutation that depends on the example's key alone."""
    return np.random.default_rng(int(key) % 2**64).permutation(tokens).astype(np.float64)

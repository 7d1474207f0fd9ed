"""Deletion, least important first: does the answer survive on what the model calls important? (arXiv 2604.06893).

The same model is asked with several rankings of its tokens: by its own mask, by the magnitude of the features, by the
evidence of its own classifier (CAM), at random. Kept tokens count in full, as in the paper; that is not the model as it
runs when its mask is soft, so the curves are also drawn with kept tokens at the weight that the mask gives them.
"""

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, Probability, mean_known, one_cell

HIGHER_IS_BETTER = True
MEANING = (
    "Mean probability of the label while tokens are removed, least important first, from none to all: ranked by the"
    " mask (own), the features' magnitude, the classifier's evidence (cam), or at random; kept tokens count in full,"
    " or as the mask weighs them (weighted)."
)


def score(
    map_Bhw: FloatArray,
    *,
    magnitude_Bhw: FloatArray,
    key_B: npt.NDArray[np.int64],
    probability: Probability | None,
    evidence_Bhw: FloatArray | None = None,
    steps: int = 25,
) -> dict[str, Score]:
    """Return ``deletion_<ranking>`` and ``deletion_weighted_<ranking>`` in [0, 1] for own, magnitude, cam and random.

    Each is the trapezoid area under the label's probability over the fraction of tokens removed, both ends included:
    0 and 1 (nothing left). Token by token, or in ``steps`` even strides where there are more tokens. Equal importances
    are removed in random order, so a uniform mask equals ``random``, whose mean is the chance level of its family.

    ``cam`` needs ``evidence_Bhw``. Nothing is returned without ``probability``: for a model that looks twice, every
    step would cost another pass of the backbone.
    """
    if probability is None:
        return {}
    B, h, w = map_Bhw.shape
    random_Bhw = np.array([_random_order(key, h * w) for key in key_B]).reshape(B, h, w)
    importances = {"own": map_Bhw, "magnitude": magnitude_Bhw, "cam": evidence_Bhw, "random": random_Bhw}
    ranks = {name: removal_ranks(one, random_Bhw) for name, one in importances.items() if one is not None}
    found: dict[str, Score] = {}
    for family, weights_Bhw in {"deletion": np.ones_like(map_Bhw), "deletion_weighted": map_Bhw}.items():
        areas = {name: area(rank_Bhw, weights_Bhw, probability, steps) for name, rank_Bhw in ranks.items()}
        chance = mean_known(areas["random"])
        found |= {f"{family}_{name}": one_cell(area_B, chance) for name, area_B in areas.items()}
    return found


def removal_ranks(importance_Bhw: FloatArray, random_Bhw: FloatArray) -> npt.NDArray[np.int64]:
    """Return (B, h, w) when each token goes, 0 first: by importance, equal ones by ``random_Bhw``.

    >>> removal_ranks(np.array([[[0.5, 0.1, 0.1]]]), np.array([[[0.0, 2.0, 1.0]]]))
    array([[[2, 1, 0]]])
    """
    importance_Bn, random_Bn = (value.reshape(len(value), -1) for value in (importance_Bhw, random_Bhw))
    order_Bn = np.lexsort((random_Bn, importance_Bn), axis=1)
    return np.argsort(order_Bn, axis=1).reshape(importance_Bhw.shape)


def area(rank_Bhw: npt.NDArray[np.int64], weights_Bhw: FloatArray, probability: Probability, steps: int) -> FloatArray:
    """Return (B,) the area under the label's probability while tokens go in the order of their rank."""
    tokens = int(np.prod(rank_Bhw.shape[1:]))
    removed_S = np.unique(np.linspace(0, tokens, min(tokens, steps) + 1).round().astype(int))
    curve_SB = np.stack([probability(weights_Bhw * (rank_Bhw >= removed)) for removed in removed_S])
    return np.asarray(np.trapezoid(curve_SB, removed_S / tokens, axis=0))


def _random_order(key: np.int64, tokens: int) -> FloatArray:
    """Return a permutation that depends on the example's key alone."""
    return np.random.default_rng(int(key) % 2**64).permutation(tokens).astype(np.float64)

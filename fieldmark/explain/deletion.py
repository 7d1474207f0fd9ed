"""Deletion, least important first: does the answer survive on what the model calls important? (arXiv 2604.06893).

The same model is asked with several rankings of its tokens: by its own mask, by the magnitude of the features, by the
evidence of its own classifier (CAM), at random. Kept tokens count in full, as in the paper; that is not the model as it
runs when its mask is soft, so the curves are also drawn with kept tokens at the weight that the mask gives them.
"""

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score
from fieldmark.explain._removal import answers, areas, curve, random_orders, removal_ranks
from fieldmark.explain._tokens import FloatArray, Probability, mean_known, one_cell

HIGHER_IS_BETTER = True
MEANING = (
    "Mean probability of the label while tokens are removed, least important first, from none to all: ranked by the"
    " mask (own), the features' magnitude, the classifier's evidence (cam), or at random; kept tokens count in full,"
    " or as the mask weighs them (weighted)."
)


def score(
    mask_Bhw: FloatArray,
    *,
    magnitude_Bhw: FloatArray,
    key_B: npt.NDArray[np.int64],
    probability: Probability | None,
    evidence_Bhw: FloatArray | None = None,
    steps: int = 25,
) -> dict[str, Score]:
    """Return ``deletion_<ranking>`` and ``deletion_weighted_<ranking>`` in [0, 1] for own, magnitude, cam and random.

    Each is the trapezoid area under the label's probability over the fraction of tokens removed, both ends included:
    0 and 1 (nothing left); the cells of ``deletion_<ranking>`` are the curve. Token by token, or in ``steps`` even
    strides where there are more tokens. Equal importances are removed in random order, so a uniform mask equals
    ``random``, whose area is the chance level of its family.

    ``cam`` needs ``evidence_Bhw``. Nothing is returned without ``probability``: for a model that looks twice, every
    step would cost another pass of the backbone.
    """
    if probability is None:
        return {}
    h, w = mask_Bhw.shape[1:]
    random_Bhw = random_orders(key_B, h, w)
    importances = {"own": mask_Bhw, "magnitude": magnitude_Bhw, "cam": evidence_Bhw, "random": random_Bhw}
    ranks = {name: removal_ranks(one, random_Bhw) for name, one in importances.items() if one is not None}
    found: dict[str, Score] = {}
    for family, weights_Bhw in {"deletion": np.ones_like(mask_Bhw), "deletion_weighted": mask_Bhw}.items():
        curves = {name: answers(rank_Bhw, weights_Bhw, probability, steps) for name, rank_Bhw in ranks.items()}
        area = {name: areas(p_SB, h * w, steps) for name, p_SB in curves.items()}
        chance = mean_known(area["random"])
        if family == "deletion":  # the curves of the paper; all eight would double what a report reads
            found |= {f"deletion_{name}": curve(p_SB, h * w, steps, chance=chance) for name, p_SB in curves.items()}
        else:
            found |= {f"{family}_{name}": one_cell(area_B, chance) for name, area_B in area.items()}
    return found

"""Insertion: how soon is the answer there, when tokens are shown in the order of the map (arXiv 1806.07421)?

The original inserts pixels into a blurred picture; here tokens are inserted into nothing, all weights being 0 at first.
Read backwards it is the removal of the least important first (LeRF): of the model's own mask, ``deletion_own``.
"""

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score
from fieldmark.explain._removal import answers, areas, curve, random_orders, removal_ranks
from fieldmark.explain._tokens import FloatArray, Probability, mean_known

HIGHER_IS_BETTER = True
MEANING = "Mean probability of the label while tokens are shown one by one, most important first, from none to all."


def score(
    attribution_Bhw: FloatArray,
    *,
    key_B: npt.NDArray[np.int64],
    probability: Probability | None,
    steps: int = 25,
) -> dict[str, Score]:
    """Return ``insertion`` in [0, 1], the area under the curve that its cells are; chance is that of a random order.

    Token by token, or in ``steps`` even strides where there are more; equal importances in random order. Nothing is
    returned without ``probability``.
    """
    if probability is None:
        return {}
    h, w = attribution_Bhw.shape[1:]
    random_Bhw, ones_Bhw = random_orders(key_B, h, w), np.ones(attribution_Bhw.shape)
    own_SB, random_SB = (
        answers(removal_ranks(importance_Bhw, random_Bhw), ones_Bhw, probability, steps)[::-1]
        for importance_Bhw in (attribution_Bhw, random_Bhw)
    )
    chance = mean_known(areas(random_SB, h * w, steps))
    return {"insertion": curve(own_SB, h * w, steps, said="shown", chance=chance)}

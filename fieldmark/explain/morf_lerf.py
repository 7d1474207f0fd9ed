"""Most relevant first against least relevant first: what the order itself is worth.

The gap between the two removal curves (arXiv 1509.06321 has the first, arXiv 2202.00449 compares both) is steadier than
either: what removal as such does to the answer is in both. Removed tokens weigh 0.
"""

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score
from fieldmark.explain._removal import answers, curve, random_orders, removal_ranks
from fieldmark.explain._tokens import FloatArray, Probability

HIGHER_IS_BETTER = True
MEANING = (
    "How much more sure of the label the model is while the least important tokens go first than while the most"
    " important do; 0 = the map ranks no better than chance."
)


def score(
    attribution_Bhw: FloatArray,
    *,
    key_B: npt.NDArray[np.int64],
    probability: Probability | None,
    steps: int = 25,
) -> dict[str, Score]:
    """Return ``morf_lerf`` in [-1, 1], the area between the curves; its cells are the distance at each point.

    Equal importances go in the same random order both times, so a map that is the same everywhere has no gap at all.
    Token by token, or in ``steps`` even strides where there are more. Nothing is returned without ``probability``.
    """
    if probability is None:
        return {}
    h, w = attribution_Bhw.shape[1:]
    random_Bhw, ones_Bhw = random_orders(key_B, h, w), np.ones(attribution_Bhw.shape)
    least_SB, most_SB = (
        answers(removal_ranks(sign * attribution_Bhw, random_Bhw), ones_Bhw, probability, steps) for sign in (1, -1)
    )
    return {"morf_lerf": curve(least_SB - most_SB, h * w, steps, chance=0.0)}

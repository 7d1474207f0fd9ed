"""How much of the classifier's weight lies on units that tell backgrounds apart better than objects.

A unit whose activations go with how backgrounds look (``monoscore``), more than with how objects do, is a background
unit: a classifier that reads such units alone gets 1, one that reads none of them 0.
"""

import numpy as np

from fieldmark.core.contracts import Score
from fieldmark.explain._monosemanticity import MINIMUM
from fieldmark.explain._tokens import one_cell
from fieldmark.explain._units import Ask, preferences

HIGHER_IS_BETTER = False
MEANING = (
    "Share of the last layer's absolute weight on units whose pictures are more alike in background than in object,"
    " each over chance; chance: the share of such units."
)


def score(*, units: Ask, minimum: float = MINIMUM) -> dict[str, Score]:
    """Return ``mono_background_weight`` in [0, 1]; NaN where no weight lies on units that are known.

    Units count that fire on ``minimum`` examples or more, in effect. The value is the plain share. A unit is of one
    kind or the other, so it has no derivative by an example's weight: observations take that of the share smoothed by
    half of each unit's own standard error (Brown & Wang 2005, doi 10.1093/biomet/92.1.149; by all of it, simulated
    intervals are a quarter too narrow). They are no shares themselves, and an interval may end beyond 0 or 1.

    Nothing is returned for a model without a last layer to read units from.
    """
    from scipy.stats import norm

    asked = units()
    if asked is None:
        return {}
    more_U, moved_NU = preferences(asked, minimum)
    known_U = ~np.isnan(more_U)
    weight_U = np.abs(asked.weight_KU).astype(np.float64).sum(0)[known_U]
    if not weight_U.sum():
        return {"mono_background_weight": one_cell(np.full(len(moved_NU), np.nan))}
    more_U, moved_NU, share_U = more_U[known_U], moved_NU[:, known_U], weight_U / weight_U.sum()
    width_U = np.sqrt((moved_NU**2).sum(0)) / len(moved_NU) / 2
    turning_U = np.where(width_U > 0, norm.pdf(more_U, scale=np.where(width_U > 0, width_U, 1.0)), 0.0)
    values_N = share_U[more_U < 0].sum() - moved_NU @ (share_U * turning_U)
    return {"mono_background_weight": one_cell(values_N, chance=float((more_U < 0).mean()))}

"""Parameter randomisation: is the map still the same when what the model has learned is gone (arXiv 1810.03292)?"""

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, one_cell

HIGHER_IS_BETTER = None  # 0 is best
MEANING = (
    "Rank correlation (Spearman) of the map with that of the same network when every tensor of its weights has been"
    " shuffled; 1 = the map shows nothing of what was learned, 0 = all of it."
)


def score(
    map_Bhw: FloatArray,
    *,
    randomised_map: Callable[[int], FloatArray] | None,
    draws: int = 3,
) -> dict[str, Score]:
    """Return ``randomisation`` in [-1, 1], the mean over draws; NaN where one of the maps is the same everywhere.

    Args:
        map_Bhw: the map of the model as it was trained.
        randomised_map: number of the draw -> the map (B, h, w) of the same question to the shuffled network; without it
            nothing is returned.
        draws: of the shuffling.
    """
    if randomised_map is None:
        return {}
    found_DB = np.stack([spearman(map_Bhw, randomised_map(draw)) for draw in range(draws)])
    return {"randomisation": one_cell(found_DB.mean(0), chance=0.0)}


def spearman(a_Bhw: FloatArray, b_Bhw: FloatArray) -> FloatArray:
    """Return (B,) the rank correlations of two maps over their tokens, ties sharing their rank.

    >>> spearman(np.array([[[1.0, 2.0, 3.0]]]), np.array([[[9.0, 5.0, 1.0]]]))
    array([-1.])
    """
    ranks = [rankdata(map_Bhw.reshape(len(map_Bhw), -1), axis=1) for map_Bhw in (a_Bhw, b_Bhw)]
    a_Bn, b_Bn = (rank_Bn - rank_Bn.mean(1, keepdims=True) for rank_Bn in ranks)
    spread_B = np.sqrt((a_Bn**2).sum(1) * (b_Bn**2).sum(1))
    shared_B = (a_Bn * b_Bn).sum(1)
    return np.asarray(np.divide(shared_B, spread_B, out=np.full(len(a_Bn), np.nan), where=spread_B > 0))

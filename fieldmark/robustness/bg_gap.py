"""BG-Gap: what it costs to swap the background for one of a random class (arXiv 2006.09994, section 4)."""

from collections.abc import Sequence

import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.robustness._accuracy import Predict, Vary, by_variant

HIGHER_IS_BETTER = False
MEANING = (
    "Accuracy on backgrounds borrowed from the object's own class minus accuracy on backgrounds of a random class;"
    " 0 = the background does not matter."
)


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    vary: Vary,
    classes: Sequence[str],
) -> dict[str, Score]:
    """Return ``bg_gap`` = accuracy(mixed_same) - accuracy(mixed_rand), in [-1, 1], paired by example."""
    weights = {"mixed_same": 1.0, "mixed_rand": -1.0}
    return {"bg_gap": by_variant(predict, recipes, vary, classes, weights, combine="contrast", chance=0.0)}

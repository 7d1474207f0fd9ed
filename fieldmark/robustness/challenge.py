"""The per-image background challenge: an object counts if no background fools the model (arXiv 2006.09994, section 4).

The paper tries all backgrounds of the test set; here it is the first k of each object's sequence, balanced over kinds.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.robustness._accuracy import Predict, Vary, by_cell, correct
from fieldmark.robustness._backgrounds import counterfactuals

HIGHER_IS_BETTER = True
MEANING = "Share of objects that are named right on every one of several other backgrounds; it falls with their number."


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    vary: Vary,
    classes: Sequence[str],
    backgrounds: int = 8,
) -> dict[str, Score]:
    """Return ``challenge_accuracy`` in [0, 1]; its cell says how many backgrounds each object stood on.

    An object's observation is the smallest of its answers. Chance is a guess that does not look at the background.
    """
    correct_kN = [correct(predict, table, classes) for table in counterfactuals(vary, recipes, backgrounds)]
    cell = f"backgrounds:{backgrounds}"
    cells = [cell] * len(recipes)
    found = by_cell(np.min(correct_kN, axis=0), cells, {cell: 1.0}, combine="mean", chance=1 / len(classes))
    return {"challenge_accuracy": found}

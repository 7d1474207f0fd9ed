"""Aligned minus conflicting accuracy: what the usual background is worth to the model."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.robustness._accuracy import Predict, by_cell, correct

HIGHER_IS_BETTER = False
MEANING = (
    "Accuracy where the background is the one the label goes with in training, minus accuracy where it is not;"
    " 0 = the background does not matter."
)


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    classes: Sequence[str],
    pairs: dict[str, str],
) -> dict[str, Score]:
    """Return ``alignment_gap`` in [-1, 1]; NaN when there are no aligned or no conflicting examples.

    Below 0 the model does better on unusual backgrounds: no merit beyond 0, but no reliance on the usual ones either.
    """
    aligned = recipes["background"] == recipes["label"].map(pairs)
    return {
        "alignment_gap": by_cell(
            correct(predict, recipes, classes),
            np.where(aligned, "aligned", "conflicting"),
            {"aligned": 1.0, "conflicting": -1.0},
            combine="contrast",
            chance=0.0,
        )
    }

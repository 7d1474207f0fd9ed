"""Plain accuracy: the number everybody knows, and the one a shortcut flatters."""

from collections.abc import Sequence

import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.robustness._accuracy import Predict, by_cell, correct

HIGHER_IS_BETTER = True
MEANING = "Share of test examples named right, every example counting the same."


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    classes: Sequence[str],
) -> dict[str, Score]:
    """Return ``average`` in [0, 1], over the recipes as they are."""
    right = correct(predict, recipes, classes)
    return {
        "average": by_cell(right, ["all"] * len(right), {"all": 1.0}, combine="mean", chance=1 / len(classes)),
    }

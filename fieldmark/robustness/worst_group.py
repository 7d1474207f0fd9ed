"""Worst-group accuracy: the smallest accuracy over label x background (Sagawa et al., arXiv 1911.08731)."""

from collections.abc import Sequence

import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.robustness._accuracy import Predict, by_cell, correct, groups

HIGHER_IS_BETTER = True
MEANING = (
    "Accuracy in the group (label on background) where it is smallest; a model that reads the background falls here."
)


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    classes: Sequence[str],
    pairs: dict[str, str],
) -> dict[str, Score]:
    """Return ``worst_group`` in [0, 1]; NaN when a group has no example, for the worst of unknown groups is unknown.

    Chance is that of a fair guess; a constant answer gets 0.
    """
    return {
        "worst_group": by_cell(
            correct(predict, recipes, classes),
            recipes["group"],
            groups(recipes, classes, pairs),
            combine="worst",
            chance=1 / len(classes),
        )
    }

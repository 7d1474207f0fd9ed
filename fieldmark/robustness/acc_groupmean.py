"""Unweighted mean of group accuracies: what SubpopBench calls adjusted accuracy (arXiv 2302.12254)."""

from collections.abc import Sequence

import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.robustness._accuracy import Predict, by_cell, correct, groups

HIGHER_IS_BETTER = True
MEANING = "Mean of the accuracies of all groups, each group counting the same."


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    classes: Sequence[str],
    pairs: dict[str, str],
) -> dict[str, Score]:
    """Return ``acc_groupmean`` in [0, 1]; NaN when a group has no example."""
    return {
        "acc_groupmean": by_cell(
            correct(predict, recipes, classes),
            recipes["group"],
            groups(recipes, classes, pairs),
            combine="mean",
            chance=1 / len(classes),
        )
    }

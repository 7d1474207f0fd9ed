"""Group accuracies weighted as in training: the adjusted average of group DRO and WILDS (arXiv 1911.08731)."""

from collections.abc import Sequence

import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.robustness._accuracy import Predict, by_cell, correct

HIGHER_IS_BETTER = True
MEANING = "Mean of group accuracies weighted as in training: the accuracy to expect if the world stays as it was."


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    classes: Sequence[str],
    train_groups: dict[str, float],
) -> dict[str, Score]:
    """Return ``acc_trainprior`` in [0, 1]; NaN when a group of the training part has no example.

    A group that training never saw has weight 0 and is left out, so its absence from the test does no harm.
    """
    weights = {group: share for group, share in train_groups.items() if share > 0}
    right = correct(predict, recipes, classes)
    return {
        "acc_trainprior": by_cell(right, recipes["group"], weights, combine="mean", chance=1 / len(classes)),
    }

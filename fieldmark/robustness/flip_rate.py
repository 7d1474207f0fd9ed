"""Counterfactual flip rate: how often another background changes the answer, right or wrong."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.robustness._accuracy import Predict, Vary, answers
from fieldmark.robustness._backgrounds import counterfactuals

HIGHER_IS_BETTER = False
MEANING = (
    "Share of other backgrounds on which the answer differs from the one on the object's own background;"
    " 0 = the background changes no answer."
)


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    vary: Vary,
    classes: Sequence[str],
    backgrounds: int | Sequence[str] = 8,
) -> dict[str, Score]:
    """Return ``flip_rate`` in [0, 1]: its cells are backgrounds of the same kind as the object's own and of others.

    They weigh as the sequence of backgrounds has them: of every K backgrounds, K being the number of kinds, one is of
    the same kind. A model that reads the kind of background and nothing else has 0 in one cell and 1 in the other.
    Answers that never change give 0, wrong ones too: read it beside an accuracy. ``backgrounds`` is a number of them,
    or the names of variants that exchange it and are there anyway.
    """
    own_N = answers(predict, recipes, classes).argmax(1)
    flipped, cells = [], []
    for varied in counterfactuals(vary, recipes, backgrounds):
        flipped.append((answers(predict, varied, classes).argmax(1) != own_N).astype(np.float64))
        same_N = (varied["background"] == recipes["background"]).to_numpy(bool)
        cells.append(np.where(same_N, "same kind", "other kind"))
    rows = np.tile(np.arange(len(recipes)), len(flipped))
    weights = {"same kind": 1.0, "other kind": max(1.0, recipes["background"].nunique() - 1.0)}
    return {"flip_rate": Score(np.concatenate(flipped), np.concatenate(cells), rows, "mean", 0.0, weights)}

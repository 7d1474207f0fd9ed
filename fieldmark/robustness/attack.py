"""Accuracy on pictures changed to fool the model, by less than one sees (arXiv 1706.06083, 2003.01690).

Networks that were not trained against it fall at distances far below what an eye can tell. What differs between models
is how soon, and whether changing the background is enough.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from fieldmark.core.contracts import Attack, Score
from fieldmark.robustness._accuracy import by_cell, groups
from fieldmark.robustness._attacks import Floats, area, drawn, survived, untouched

HIGHER_IS_BETTER = True
MEANING = (
    "Accuracy on pictures changed to fool the model by at most eps steps of 255 a pixel: the area under its curve over"
    " eps (pgd, apgd), or at one eps in the worst group, or where only background or only object may change."
)


def score(
    attack: Attack,
    recipes: pd.DataFrame,
    *,
    classes: Sequence[str],
    pairs: dict[str, str],
    eps: Sequence[float] = (0.25, 0.5, 1, 2, 4, 8),
    at: float = 0.5,
    steps: int = 10,
    restarts: int = 1,
    examples: int = 48,
) -> dict[str, Score]:
    """Return ``robust_pgd``, ``robust_apgd``, ``robust_worst_group``, ``robust_background`` and ``robust_object``.

    The first two are areas under accuracy over eps, from 0 (cell ``eps:0``, untouched) to the largest, as a share of
    it: the mean distance up to which an example stays right. What fools at one eps is within reach at a larger one, so
    the curves never rise. The worst group is that under both attacks; it and the last two are at the distance ``at``.
    Chance is that of a fair guess, which no change of a picture moves.

    Args:
        attack: on the model.
        recipes: of which ``examples`` are attacked.
        classes: in the order of probabilities.
        pairs: label -> the background it goes with.
        eps: distances, in steps of 1/255.
        at: one of them, or another.
        steps: of each restart.
        restarts: of each attack.
        examples: how many are attacked, as many of each group as can be: each step costs a pass and a way back.
    """
    rows_N = drawn(recipes, examples)
    some, chance = recipes.iloc[rows_N], 1 / len(classes)
    left = partial(survived, attack, some, classes, steps=steps, restarts=restarts)
    clean_N = untouched(attack, some, classes)
    curves: dict[str, dict[float, Floats]] = {"pgd": {0: clean_N}, "apgd": {0: clean_N}}
    for kind, curve in curves.items():
        right_N = clean_N
        for one in sorted({*eps, at}):
            curve[one] = right_N = left(right_N, eps=one, kind=kind)
    found = {
        f"robust_{kind}": area({one: curve[one] for one in (0, *eps)}, rows_N, chance) for kind, curve in curves.items()
    }
    for name, right_N, combine in (
        ("worst_group", np.minimum(curves["pgd"][at], curves["apgd"][at]), "worst"),
        ("background", left(clean_N, eps=at, region="background"), "mean"),
        ("object", left(clean_N, eps=at, region="object"), "mean"),
    ):
        cells = by_cell(right_N, some["group"], groups(recipes, classes, pairs), combine=combine, chance=chance)
        found[f"robust_{name}"] = cells._replace(rows=rows_N)
    return found

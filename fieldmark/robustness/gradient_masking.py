"""Is a model robust, or are its gradients no use? What weaker attacks fool and PGD does not (arXiv 1802.00420).

Each check is an attack that should never find more than PGD: one step instead of many, random pictures instead of
gradients, gradients of another network, gradients that pass the mask by, and half the distance. Where one does find
more, PGD was blind, and what it says of the model's robustness is worth nothing.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from fieldmark.core.contracts import Attack, Score
from fieldmark.robustness._attacks import Floats, drawn, survived, untouched

HIGHER_IS_BETTER = False
MEANING = (
    "Share of examples that an attack which should be weaker fools and PGD does not; above 0, gradients are masked: one"
    " step, random pictures, another network's gradients, gradients past the mask, half the distance."
)
WEAKER = ("one_step", "random", "transfer", "straight_through")


def score(
    attack: Attack,
    recipes: pd.DataFrame,
    *,
    classes: Sequence[str],
    at: float = 0.5,
    steps: int = 10,
    restarts: int = 1,
    examples: int = 48,
) -> dict[str, Score]:
    """Return ``masking_<check>`` in [0, 1] for one_step, random, transfer, straight_through and distance.

    Nothing should be found, so chance is 0. More steps can't find less by the way PGD goes on, so there is no check of
    that (``layers.attack.pgd``).

    Args:
        attack: on the model.
        recipes: of which ``examples`` are attacked.
        classes: in the order of probabilities.
        at: distance, in steps of 1/255; ``distance`` compares half of it.
        steps: of each restart.
        restarts: of the attacks.
        examples: how many are attacked, as many of each group as can be.
    """
    rows_N = drawn(recipes, examples)
    some = recipes.iloc[rows_N]
    left = partial(survived, attack, some, classes, steps=steps, restarts=restarts)
    strong_N = left(untouched(attack, some, classes), eps=at)
    missed = {kind: strong_N - left(strong_N, eps=at, kind=kind) for kind in WEAKER}
    missed["distance"] = strong_N - left(strong_N, eps=at / 2)
    return {f"masking_{name}": _share(missed_N, rows_N) for name, missed_N in missed.items()}


def _share(missed_N: Floats, rows_N: np.ndarray) -> Score:
    return Score(missed_N, np.full(len(rows_N), "all"), rows_N, chance=0.0, weights={"all": 1.0})

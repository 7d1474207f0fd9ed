"""How far the model's mask moves when a picture is changed, by less than one sees, to fool it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.contracts import Attack, Score
from fieldmark.robustness._attacks import LEVELS, Floats, drawn

Masks = npt.NDArray[np.floating[Any]]
HIGHER_IS_BETTER = False
MEANING = (
    "How much of where the model looks moves while its pictures are changed to fool it: the mean change of a token's"
    " weight, 1 less the cosine of both masks, and 1 less the overlap of both (0: it looks where it did)."
)


def score(
    attack: Attack,
    recipes: pd.DataFrame,
    *,
    at: float = 0.5,
    steps: int = 10,
    restarts: int = 1,
    region: str = "all",
    examples: int = 48,
) -> dict[str, Score]:
    """Return ``attention_drift``, ``attention_drift_cosine`` and ``attention_drift_overlap``, each in [0, 1].

    The overlap is the sum of the smaller weights over that of the larger ones. A mask that does not look at the
    picture moves by 0, which is chance; a cosine or an overlap with a mask that is 0 everywhere is unknown.

    Args:
        attack: on the model, by PGD; what it raises is the loss, not the drift.
        recipes: of which ``examples`` are attacked.
        at: distance, in steps of 1/255.
        steps: of each restart.
        restarts: of the attack.
        region: where pixels may change: ``all``, ``object`` or ``background``.
        examples: how many are attacked, as many of each group as can be.
    """
    rows_N = drawn(recipes, examples)
    some = recipes.iloc[rows_N]
    moved = attack(some, eps=at / LEVELS, steps=steps, restarts=restarts, region=region)
    drifts = drift(attack(some, eps=0).masks_Nhw, moved.masks_Nhw)
    return {
        f"attention_drift{name}": Score(drift_N, np.full(len(some), "all"), rows_N, chance=0.0, weights={"all": 1.0})
        for name, drift_N in zip(("", "_cosine", "_overlap"), drifts, strict=True)
    }


def drift(before_Nhw: Masks, after_Nhw: Masks) -> tuple[Floats, Floats, Floats]:
    """Return the mean change (N,) of a weight, 1 less the cosine, and 1 less the overlap of masks.

    >>> [one.tolist() for one in drift(np.array([[[1.0, 0.0]]]), np.array([[[0.0, 0.5]]]))]
    [[0.75], [1.0], [1.0]]
    """
    tokens = (1, 2)
    before, after = before_Nhw.astype(np.float64), after_Nhw.astype(np.float64)
    length_N = np.sqrt((before**2).sum(tokens) * (after**2).sum(tokens))
    with np.errstate(invalid="ignore"):  # nothing over nothing is unknown
        cosine_N = np.where(length_N > 0, (before * after).sum(tokens) / length_N, np.nan)
        overlap_N = np.minimum(before, after).sum(tokens) / np.maximum(before, after).sum(tokens)
    change_N = np.abs(before - after).sum(tokens) / max(1, before[:1].size)
    return change_N, np.clip(1 - cosine_N, 0, 1), 1 - overlap_N

"""Selective risk: how often is the model wrong where it is sure? (Geifman & El-Yaniv, arXiv 1705.08500)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.core.errors import FieldmarkError
from fieldmark.robustness._accuracy import Predict, answers, by_cell

HIGHER_IS_BETTER = False
MEANING = (
    "Share of errors among the examples that the model is most sure of: averaged over how many it may answer (aurc), or"
    " where it answers that part of them (risk_at_coverage)."
)
Floats = npt.NDArray[np.float64]


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    classes: Sequence[str],
    coverage: float = 0.8,
) -> dict[str, Score]:
    """Return ``aurc``, the area under risk against coverage, and ``risk_at_coverage:<coverage>``, both in [0, 1].

    Examples of equal confidence are answered together, so the order of rows does not matter. An observation of ``aurc``
    is the infinitesimal jackknife's: what its example adds to the area to first order, by its error and by moving the
    others' ranks. Their mean is the area itself, exactly; a draw of a bootstrap does not rank anew, and is the area of
    that draw to first order. ``risk_at_coverage`` keeps the whole sample's threshold in every draw, as a service that
    has set one does.

    Raises:
        FieldmarkError: ``coverage`` is not in (0, 1].
    """
    if not 0 < coverage <= 1:
        raise FieldmarkError(f"selective_risk.coverage is {coverage}: give a share of the examples in (0, 1].")
    probabilities_NK = answers(predict, recipes, classes)
    named = np.asarray(classes)[probabilities_NK.argmax(1)]
    wrong_N, sure_N = np.asarray(named != recipes["label"].to_numpy(), np.float64), probabilities_NK.max(1)
    cell, chance = f"coverage:{coverage:g}", 1 - 1 / len(classes)
    answered_N = sure_N >= _threshold(sure_N, coverage)
    area = by_cell(_influence(wrong_N, sure_N), ["all"] * len(recipes), {"all": 1.0}, combine="mean", chance=chance)
    kept_N = np.where(answered_N, wrong_N, np.nan)
    part = by_cell(kept_N, [cell] * len(recipes), {cell: 1.0}, combine="mean", chance=chance)
    return {"aurc": area, f"risk_at_{cell}": part}


def _threshold(sure_N: Floats, coverage: float) -> float:
    """Return the highest confidence at which at least that share of the examples is answered."""
    count = max(1, int(np.ceil(coverage * len(sure_N) - 1e-9)))
    return float(np.sort(sure_N)[::-1][count - 1]) if len(sure_N) else 0.0


def _influence(wrong_N: Floats, sure_N: Floats) -> Floats:
    """Return R_x + sum over i no surer than x of (wrong_x - R_i) / n_i.

    n_i examples are at least as sure as i, and R_i is their share of errors; the area is the mean of R.

    >>> _influence(np.array([0.0, 1.0]), np.array([0.9, 0.6])).tolist()
    [-0.25, 0.75]
    """
    levels, place_N, size_L = np.unique(-sure_N, return_inverse=True, return_counts=True)  # surest first
    n_L = np.cumsum(size_L)
    risk_L = np.cumsum(np.bincount(place_N, wrong_N, len(levels))) / n_L
    times_L, moved_L = (np.cumsum((size_L * value_L / n_L)[::-1])[::-1] for value_L in (np.ones_like(risk_L), risk_L))
    return np.asarray(risk_L[place_N] + wrong_N * times_L[place_N] - moved_L[place_N])

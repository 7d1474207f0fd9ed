"""What every test of this room is made of: was each example named right, and which cell does it belong to."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.core.errors import FieldmarkError

Predict = Callable[[pd.DataFrame], npt.NDArray[np.floating]]  # recipes -> (N, K) probabilities
Vary = Callable[[str, pd.DataFrame], pd.DataFrame]  # variant name, recipes -> recipes, row by row


def correct(predict: Predict, recipes: pd.DataFrame, classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return (N,) 1 where the most probable class is the label, else 0; of equally probable classes the first counts.

    Raises:
        FieldmarkError: the probabilities are not (N, K), or not finite: a broken model is not a wrong answer.
    """
    probabilities_NK = np.asarray(predict(recipes))
    if probabilities_NK.shape != (len(recipes), len(classes)):
        raise FieldmarkError(
            f"predict gave probabilities of shape {probabilities_NK.shape}: expected {(len(recipes), len(classes))},"
            " a row per example and a column per class."
        )
    if not np.isfinite(probabilities_NK).all():
        broken = int((~np.isfinite(probabilities_NK)).any(1).sum())
        raise FieldmarkError(f"predict gave non-finite probabilities for {broken} of {len(recipes)} examples.")
    named = np.asarray(classes)[probabilities_NK.argmax(1)]
    return np.asarray(named == recipes["label"].to_numpy(), np.float64)


def by_cell(
    correct_N: npt.NDArray[np.float64], cells: Iterable[str], weights: dict[str, float], *, combine: str, chance: float
) -> Score:
    """Return the score of one observation per recipe, the n-th in the n-th of ``cells``."""
    return Score(correct_N, np.asarray(list(cells), np.str_), np.arange(len(correct_N)), combine, chance, weights)


def by_variant(
    predict: Predict,
    recipes: pd.DataFrame,
    vary: Vary,
    classes: Sequence[str],
    weights: dict[str, float],
    *,
    combine: str,
    chance: float,
) -> Score:
    """Return a score whose cells are variants: every recipe is observed once in each, so its row repeats."""
    correct_VN = [correct(predict, vary(variant, recipes), classes) for variant in weights]
    cells = np.repeat(np.asarray(list(weights), np.str_), len(recipes))
    rows = np.tile(np.arange(len(recipes)), len(weights))
    return Score(np.concatenate(correct_VN), cells, rows, combine, chance, weights)


def groups(recipes: pd.DataFrame, classes: Sequence[str], pairs: dict[str, str]) -> dict[str, float]:
    """Return equal weights of all groups there should be: each class on each background of ``pairs`` or ``recipes``."""
    backgrounds = sorted({*pairs.values(), *recipes["background"]})
    return {f"{label} on {background}": 1.0 for label in classes for background in backgrounds}

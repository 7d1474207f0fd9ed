"""Calibration: does the model know how often it is right? ECE (arXiv 1706.04599), Brier score and log loss."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.core.errors import FieldmarkError
from fieldmark.robustness._accuracy import Predict, answers, by_cell

HIGHER_IS_BETTER = False
MEANING = (
    "Distance between what the model says and what is so: of its confidence from its accuracy, bin by bin (ece), of its"
    " probabilities from the truth, squared (brier), and the negative log of the label's probability (nll)."
)


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    classes: Sequence[str],
    bins: int = 15,
) -> dict[str, Score]:
    """Return ``ece_<bins>_equal_width`` in [0, 1], ``brier`` in [0, 2] (a sum over classes) and ``nll`` >= 0.

    ECE is the sum over bins of |sum of (confidence - correct)| / N: every example is observed in each bin, as 0 where
    its confidence lies elsewhere, so a cell's mean is its bin's gap times its bin's share, in the data as in every
    draw of a bootstrap. A bin holds its lower end, the last one 1 too. Chance is a guess that admits to be one.

    Raises:
        FieldmarkError: ``bins`` is below 1.
    """
    if bins < 1:
        raise FieldmarkError(f"calibration.bins is {bins}: give at least 1.")
    probabilities_NK = answers(predict, recipes, classes)
    truth_NK = np.asarray(recipes["label"].to_numpy()[:, None] == np.asarray(classes), np.float64)
    named_N, rows_N = probabilities_NK.argmax(1), np.arange(len(recipes))
    gap_N = probabilities_NK[rows_N, named_N] - truth_NK[rows_N, named_N]
    squared_N = np.square(probabilities_NK - truth_NK).sum(1)
    label_N = (probabilities_NK * truth_NK).sum(1).clip(np.finfo(np.float32).tiny)  # as in the loss: never infinite
    cells, whole, count = ["all"] * len(recipes), {"all": 1.0}, len(classes)
    return {
        f"ece_{bins}_equal_width": _by_bin(probabilities_NK[rows_N, named_N], gap_N, bins),
        "brier": by_cell(squared_N, cells, whole, combine="mean", chance=1 - 1 / count),
        "nll": by_cell(-np.log(label_N), cells, whole, combine="mean", chance=float(np.log(count))),
    }


def _by_bin(confidence_N: npt.NDArray[np.float64], gap_N: npt.NDArray[np.float64], bins: int) -> Score:
    edges = np.linspace(0, 1, bins + 1)
    place_N = np.searchsorted(edges[1:-1], confidence_N, side="right")
    names = [f"confidence:{edge:.3f}" for edge in edges[:-1]]
    values_bN = np.where(place_N == np.arange(bins)[:, None], gap_N, 0.0)
    cells, rows = np.repeat(np.array(names, np.str_), len(gap_N)), np.tile(np.arange(len(gap_N)), bins)
    return Score(values_bN.ravel(), cells, rows, "absolute", 0.0, dict.fromkeys(names, 1.0))

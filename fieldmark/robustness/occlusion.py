"""Occlusion curves: accuracy as patches are lost at random, off the object first, or on it first.

PatchDrop (arXiv 2105.10497), with the true mask in place of a network's saliency.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.core.errors import FieldmarkError
from fieldmark.robustness._accuracy import Predict, Vary, correct
from fieldmark.robustness._curve import trapezoid

HIGHER_IS_BETTER = True
MEANING = (
    "Mean accuracy as more and more patches of the picture are blackened: at random, those without object first"
    " (occlusion_background), or those with object first (occlusion_object: nothing but background remains there, so"
    " accuracy above chance is no merit); occlusion_gap is the second minus the third."
)


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    vary: Vary,
    classes: Sequence[str],
    shares: Sequence[float] = (0, 0.25, 0.5, 0.75),
) -> dict[str, Score]:
    """Return ``occlusion_random``, ``occlusion_object`` and ``occlusion_background`` in [0, 1], and ``occlusion_gap``.

    A curve's value is the area under accuracy against the share of patches lost, from the first to the last of
    ``shares``, divided by that width; cells are ``<way>:<share>``. ``occlusion_gap`` = ``occlusion_background`` -
    ``occlusion_object`` is in [-1, 1]: 0 when it does not matter what is lost, below 0 when the background is needed
    more.

    Raises:
        FieldmarkError: ``shares`` are not at least two numbers from 0 to 1 that rise.
    """
    if len(shares) < 2 or not 0 <= shares[0] <= shares[-1] <= 1 or min(np.diff(shares)) <= 0:
        raise FieldmarkError(f"occlusion.shares is {list(shares)}: give at least two numbers from 0 to 1 that rise.")
    chance, found = 1 / len(classes), {}
    for way in ("random", "object", "background"):
        right = [correct(predict, vary(_variant(way, share), recipes), classes) for share in shares]
        names = [f"{way}:{share:g}" for share in shares]
        cells, rows = np.repeat(np.array(names, np.str_), len(recipes)), np.tile(np.arange(len(recipes)), len(shares))
        weights = dict(zip(names, trapezoid(shares), strict=True))
        found[f"occlusion_{way}"] = Score(np.concatenate(right), cells, rows, "mean", chance, weights)
    return {**found, "occlusion_gap": _minus(found["occlusion_background"], found["occlusion_object"])}


def _variant(way: str, share: float) -> str:
    return f"drop_{way}:{share:g}" if share else "original"


def _minus(one: Score, other: Score) -> Score:
    """Return the difference of two curves as one score, paired by example."""
    columns = zip(one[:3], other[:3], strict=True)
    values, cells, rows = (np.concatenate(both) for both in columns)
    weights = {**(one.weights or {}), **{cell: -weight for cell, weight in (other.weights or {}).items()}}
    return Score(values, cells, rows, "contrast", 0.0, weights)

"""Relative foreground sensitivity: is noise worse on the object or off it? (RFS, arXiv 2201.10766)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.core.errors import FieldmarkError
from fieldmark.robustness._accuracy import Predict, Vary, correct

HIGHER_IS_BETTER = True
MEANING = (
    "Accuracy with noise on the background minus accuracy with as much noise on the object, as a share of the largest"
    " difference that their mean leaves room for; above 0 the object matters more, below 0 the background."
)
_SIGNS = {"background": 1.0, "object": -1.0}


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    vary: Vary,
    classes: Sequence[str],
    sigmas: Sequence[float] = (0.2,),
) -> dict[str, Score]:
    """Return ``foreground_sensitivity`` = (b - f) / (2 min(m, 1 - m)) in [-1, 1], m being the mean of b and f.

    b and f are the accuracies with noise on the background and on the object, means over classes and ``sigmas``, all
    counting the same; cells are ``<label> under noise_<region>:<sigma>``. Where m is 0 or 1 the noise is too strong or
    too weak to tell, and the measure is 0.

    Raises:
        FieldmarkError: no ``sigmas``.
    """
    if not sigmas:
        raise FieldmarkError(
            "foreground_sensitivity.sigmas is empty: give at least one strength of noise, such as 0.2."
        )
    variants = {f"noise_{region}:{sigma:g}": sign for sigma in sigmas for region, sign in _SIGNS.items()}
    values = [correct(predict, vary(variant, recipes), classes) for variant in variants]
    cells = [f"{label} under {variant}" for variant in variants for label in recipes["label"]]
    rows = np.tile(np.arange(len(recipes)), len(variants))
    weights = {f"{label} under {variant}": sign for variant, sign in variants.items() for label in classes}
    found = Score(np.concatenate(values), np.array(cells, np.str_), rows, "relative", 0.0, weights)
    return {"foreground_sensitivity": found}

"""The Backgrounds Challenge: accuracy when object or background is cut away or exchanged (arXiv 2006.09994)."""

from collections.abc import Sequence

import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.robustness._accuracy import Predict, Vary, by_variant

HIGHER_IS_BETTER = True
MEANING = (
    "Accuracy on a variant of the test images. Where the object is gone (no_fg, only_bg_box, only_bg_tiled)"
    " accuracy above chance shows what the background alone gives away."
)


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    vary: Vary,
    classes: Sequence[str],
    variants: Sequence[str] = (
        "original",
        "only_fg",
        "no_fg",
        "only_bg_box",
        "only_bg_tiled",
        "mixed_same",
        "mixed_rand",
        "mixed_next",
    ),
) -> dict[str, Score]:
    """Return ``acc_<variant>`` in [0, 1] for each of ``variants``, over the same examples."""
    chance = 1 / len(classes)
    return {
        f"acc_{variant}": by_variant(predict, recipes, vary, classes, {variant: 1.0}, combine="mean", chance=chance)
        for variant in variants
    }

"""Mean accuracy under common corruptions (after arXiv 1903.12261).

Not mCE: its AlexNet normalisers hold for ImageNet-C alone.
"""

from collections.abc import Sequence

import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.core.tables import CORRUPTIONS_VERSION
from fieldmark.robustness._accuracy import Predict, Vary, by_variant

HIGHER_IS_BETTER = True
MEANING = (
    "Mean accuracy over corrupted versions of the test images: families of corruption x severities of table"
    f" {CORRUPTIONS_VERSION}."
)


def score(
    predict: Predict,
    recipes: pd.DataFrame,
    *,
    vary: Vary,
    classes: Sequence[str],
    families: Sequence[str] = ("gaussian_noise",),
    severities: Sequence[int] = (1, 3, 5),
) -> dict[str, Score]:
    """Return ``corruption_accuracy`` in [0, 1]: the unweighted mean over ``families`` x ``severities`` (1 to 5).

    Cells are ``<family>:<severity>``, a variant each. The whole table is all CORRUPTIONS at all severities.
    """
    weights = {f"{family}:{severity}": 1.0 for family in families for severity in severities}
    chance = 1 / len(classes)
    return {
        "corruption_accuracy": by_variant(predict, recipes, vary, classes, weights, combine="mean", chance=chance),
    }

"""The same objects on other backgrounds: what the challenge and the flip rate share, so that each is answered once."""

from collections.abc import Sequence

import pandas as pd

from fieldmark.core.errors import FieldmarkError
from fieldmark.robustness._accuracy import Vary


def counterfactuals(vary: Vary, recipes: pd.DataFrame, backgrounds: int | Sequence[str]) -> list[pd.DataFrame]:
    """Return the recipes on other backgrounds: the first, second, ... of a number of them, or those of some variants.

    Raises:
        FieldmarkError: there are none.
    """
    if isinstance(backgrounds, int):
        variants: Sequence[str] = [f"background:{number}" for number in range(1, backgrounds + 1)]
    else:
        variants = backgrounds
    if not variants:
        raise FieldmarkError(
            f"backgrounds is {backgrounds}: objects need at least 1 other background; correct params.yaml."
        )
    return [vary(variant, recipes) for variant in variants]

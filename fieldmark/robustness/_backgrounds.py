"""The same objects on other backgrounds: what the challenge and the flip rate share, so that each is answered once."""

import pandas as pd

from fieldmark.core.errors import FieldmarkError
from fieldmark.robustness._accuracy import Vary


def counterfactuals(vary: Vary, recipes: pd.DataFrame, backgrounds: int) -> list[pd.DataFrame]:
    """Return the recipes on the first, second, ... of as many other backgrounds.

    Raises:
        FieldmarkError: their number is below 1.
    """
    if backgrounds < 1:
        raise FieldmarkError(
            f"backgrounds is {backgrounds}: objects need at least 1 other background; correct params.yaml."
        )
    return [vary(f"background:{number}", recipes) for number in range(1, backgrounds + 1)]

"""What a sensor, a lens or a codec does to a picture; ``loading`` knows how."""

import pandas as pd

from fieldmark.core.errors import FieldmarkError


def corrupted(recipes: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the examples under the corruption ``<family>:<severity 1-5>``.

    Raises:
        FieldmarkError: the severity is not one of 1 to 5.
    """
    family, _, severity = name.partition(":")
    if severity not in {"1", "2", "3", "4", "5"}:
        raise FieldmarkError(f"'{name}' needs a severity of 1 to 5: such as {family}:3.")
    return recipes.assign(corruption=name)

"""What a sensor, a lens or a codec does to a picture, and what is lost of it; ``loading`` knows how."""

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


def dropped(recipes: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the examples with a share of their patches lost: ``<drop>:<share>``, PatchDrop (arXiv 2105.10497).

    Raises:
        FieldmarkError: the share is not in (0, 1].
    """
    kind, _, share = name.partition(":")
    if not 0 < _number(share) <= 1:
        raise FieldmarkError(f"'{name}' needs a share of the patches in (0, 1]: such as {kind}:0.5.")
    return recipes.assign(corruption=name)


def noisy(recipes: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the examples with noise on the object or off it: ``<region noise>:<sigma>`` (arXiv 2201.10766).

    Raises:
        FieldmarkError: sigma is not a number above 0.
    """
    kind, _, sigma = name.partition(":")
    if not 0 < _number(sigma) < float("inf"):
        raise FieldmarkError(
            f"'{name}' needs a strength above 0, a fraction of the range of values: such as {kind}:0.2."
        )
    return recipes.assign(corruption=name)


def _number(text: str) -> float:
    """Return the number that a text says; NaN, which compares false, if it says none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")

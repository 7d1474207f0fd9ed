"""A grey square on the object, or the same square off it: what does a model lose with each?"""

import numpy as np
import pandas as pd

from fieldmark.core.errors import FieldmarkError


def area(name: str) -> float:
    """Return the area in a name such as ``on_object:0.25``.

    Raises:
        FieldmarkError: not a number in (0, 1].

    >>> area("on_object:0.25")
    0.25
    """
    kind, _, value = name.partition(":")
    try:
        share = float(value)
    except ValueError:
        share = float("nan")
    if not 0 < share <= 1:
        raise FieldmarkError(
            f"'{name}' needs an area in (0, 1], a share of the square around the object: such as {kind}:0.25."
        )
    return share


def on_object(recipes: pd.DataFrame, share: float) -> pd.DataFrame:
    """Cover ``share`` of the square around the object, from its middle."""
    side = recipes["fg_scale"] * np.sqrt(share)
    return recipes.assign(occluder_x=recipes["fg_x"], occluder_y=recipes["fg_y"], occluder_side=side)


def off_object(recipes: pd.DataFrame, share: float) -> pd.DataFrame:
    """Put a square of the same area as ``on_object`` does into the corner farthest from the object's middle."""
    side = recipes["fg_scale"] * np.sqrt(share)
    far = {axis: np.where(recipes[f"fg_{axis}"] < 0.5, 1 - side / 2, side / 2) for axis in "xy"}
    return recipes.assign(occluder_x=far["x"], occluder_y=far["y"], occluder_side=side)

"""What the attacks of this room share: which examples are attacked, and which of them stay right."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.contracts import Attack, Score
from fieldmark.core.store import fingerprint
from fieldmark.robustness._accuracy import correct

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LEVELS = 255  # distances are given in steps of an 8-bit picture


def drawn(recipes: pd.DataFrame, examples: int) -> Rows:
    """Return the rows of some examples, as many of each group as can be; their order and number change no choice.

    >>> table = pd.DataFrame({"example_id": list("abcd"), "group": ["x", "x", "x", "y"]})
    >>> drawn(table, 2).tolist(), drawn(table, 9).tolist()
    ([0, 3], [0, 1, 2, 3])
    """
    luck = recipes["example_id"].map(lambda name: fingerprint(["attack", name])).to_numpy(str)
    turn = pd.Series(luck).groupby(recipes["group"].to_numpy()).rank().to_numpy(np.float64)
    return np.sort(np.lexsort((luck, turn))[:examples])


def untouched(attack: Attack, recipes: pd.DataFrame, classes: Sequence[str]) -> Floats:
    """Return (N,) 1 for the examples that are right as they are, else 0."""
    return correct(lambda asked: attack(asked, eps=0).probabilities_NK, recipes, classes)


def survived(
    attack: Attack, recipes: pd.DataFrame, classes: Sequence[str], right_N: Floats, *, eps: float, **how: Any
) -> Floats:
    """Return (N,) 1 for the examples that stay right under an attack, else 0.

    Args:
        attack: on the model.
        recipes: examples.
        classes: in the order of probabilities.
        right_N: 0 where an example is wrong already: it is not attacked, and stays 0.
        eps: how far a pixel may move, in steps of 1/255.
        how: the attack's other arguments.
    """
    stands, left_N = right_N > 0, np.zeros_like(right_N)
    left_N[stands] = correct(
        lambda asked: attack(asked, eps=eps / LEVELS, **how).probabilities_NK, recipes[stands], classes
    )
    return left_N


def area(curve: dict[float, Floats], rows_N: Rows, chance: float) -> Score:
    """Return the area under values over a distance, as a share of the largest: a score whose cells are its points.

    >>> round(area({0: np.ones(2), 1: np.ones(2), 4: np.zeros(2)}, np.arange(2), 0.5).value, 3)
    0.625
    """
    far = np.array(sorted(curve), np.float64)
    width = np.diff(far, prepend=far[0], append=far[-1])
    weights = {f"eps:{one:g}": float(weight) for one, weight in zip(far, (width[:-1] + width[1:]) / 2, strict=True)}
    values = np.concatenate([curve[one] for one in far.tolist()])
    return Score(values, np.repeat(list(weights), len(rows_N)), np.tile(rows_N, len(far)), "mean", chance, weights)

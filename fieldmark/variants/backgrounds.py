"""The backgrounds challenge (arXiv 2006.09994) on recipes: what is taken away, and whose background is borrowed."""

from collections.abc import Mapping
from math import gcd

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import fingerprint

_BORROWED = ["bg_source", "crop_x", "crop_y", "crop_side", "background"]


def masked(recipes: pd.DataFrame) -> pd.DataFrame:
    """Return the masked view: pixels off the visible object become black."""
    return recipes.assign(masked=True)


def original(recipes: pd.DataFrame, *, pairs: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Return the examples as they are."""
    return recipes.copy()


def only_fg(recipes: pd.DataFrame, *, pairs: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Return the object on black."""
    return masked(recipes)


def no_fg(recipes: pd.DataFrame, *, pairs: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Return the background with the object's silhouette black: its shape can still be seen."""
    return recipes.assign(erase="object")


def only_bg_box(recipes: pd.DataFrame, *, pairs: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Return the background with the object's bounding box black."""
    return recipes.assign(erase="box")


def only_bg_tiled(recipes: pd.DataFrame, *, pairs: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Return the background tiled over the object's bounding box."""
    return recipes.assign(erase="tile")


def mixed_same(recipes: pd.DataFrame, *, pairs: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Return each object on another example's background, of the kind its label goes with."""
    return _borrow(recipes, recipes["label"].map(dict(pairs)), "mixed_same", seed)


def mixed_rand(recipes: pd.DataFrame, *, pairs: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Return each object on another example's background, of a kind drawn evenly from those of its part."""
    kinds = recipes.groupby("part")["background"].agg(lambda part: sorted(set(part)))
    draws = _draws(recipes, "mixed_rand kind", seed)
    wanted = [kinds[part][draw % len(kinds[part])] for part, draw in zip(recipes["part"], draws, strict=True)]
    return _borrow(recipes, pd.Series(wanted, index=recipes.index, dtype="str"), "mixed_rand", seed)


def mixed_next(recipes: pd.DataFrame, *, pairs: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Return each object on another example's background, of the kind that goes with the next label in sorted order."""
    labels = sorted(pairs)
    following = {label: pairs[after] for label, after in zip(labels, labels[1:] + labels[:1], strict=True)}
    return _borrow(recipes, recipes["label"].map(following), "mixed_next", seed)


def counterfactual(recipes: pd.DataFrame, number: int, *, seed: int) -> pd.DataFrame:
    """Return each object on the ``number``-th of a sequence of other examples' backgrounds, counted from 1.

    The kinds of background of its part take turns, so as many backgrounds as there are kinds, or a multiple of that,
    hold each kind equally often: of two kinds, any even number holds as many conflicting as aligned ones. Where the
    turns start is drawn for each example. Nobody borrows from itself, and none is lent twice before all were lent once.

    These are also the adversarial backgrounds of the challenge (arXiv 2006.09994, section 4), which pastes objects on
    others' ``only_bg_tiled``: a scene holds no object, and a photo lends its background with its own one tiled over.
    """
    kinds = recipes.groupby("part")["background"].agg(lambda part: sorted(set(part)))
    first = _draws(recipes, "background kind", seed)
    wanted, turns = [], []
    for part, start in zip(recipes["part"], first, strict=True):
        turn, place = divmod(number - 1, len(kinds[part]))
        wanted.append(kinds[part][(start + place) % len(kinds[part])])
        turns.append(turn)
    kind = pd.Series(wanted, index=recipes.index, dtype="str")
    return _borrow(recipes, kind, "background", seed, np.array(turns, np.int64))


def _borrow(
    recipes: pd.DataFrame, wanted: pd.Series, name: str, seed: int, turn: int | npt.NDArray[np.int64] = 0
) -> pd.DataFrame:
    """Give each row the scene and crop of another row of its part whose background is the ``wanted`` one.

    The lenders of a row form a circle that begins at one drawn for it; ``turn`` says how often to step on.
    """
    if wanted.isna().any():
        label = recipes["label"][wanted.isna()].iloc[0]
        raise FieldmarkError(
            f"split.pairs does not say which background '{label}' goes with: add it, or use its labels' names."
        )
    ids, parts, kinds = (recipes[column].to_numpy(str) for column in ("example_id", "part", "background"))
    by_id, draws, wishes = np.argsort(ids), _draws(recipes, name, seed), wanted.to_numpy(str)
    lenders = np.empty(len(recipes), dtype=np.int64)
    for part, wish in sorted(set(zip(parts.tolist(), wishes.tolist(), strict=True))):
        offers = by_id[(parts[by_id] == part) & (kinds[by_id] == wish)]
        rows = np.flatnonzero((parts == part) & (wishes == wish))
        own, own_place = np.isin(rows, offers), np.searchsorted(ids[offers], ids[rows])
        choices = len(offers) - own  # nobody borrows from itself
        if (choices < 1).any():
            raise FieldmarkError(
                f"{name} finds no other example of part '{part}' on '{wish}': make the part larger or fix split.pairs."
            )
        steps = np.broadcast_to(turn, len(recipes))[rows]
        choice = (draws[rows] % choices + steps * np.vectorize(_step)(choices)) % choices
        lenders[rows] = offers[choice + (own & (choice >= own_place))]
    borrowed = recipes[_BORROWED].iloc[lenders].set_axis(recipes.index)
    return recipes.assign(**borrowed, group=recipes["label"] + " on " + borrowed["background"])


def _step(lenders: int) -> int:
    """Return a step that visits all ``lenders`` once: a golden section of the circle, so that neighbours come late.

    >>> [(number * _step(8)) % 8 for number in range(8)]
    [0, 5, 2, 7, 4, 1, 6, 3]
    """
    step = max(1, round(lenders * (5**0.5 - 1) / 2))
    while gcd(step, lenders) > 1:
        step += 1
    return step


def _draws(recipes: pd.DataFrame, name: str, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return one number in [0, 2^60) for each row: a hash, so that it stays with the example wherever its row goes."""
    return np.array(
        [int(fingerprint([seed, name, example])[:15], 16) for example in recipes["example_id"]], dtype=np.int64
    )

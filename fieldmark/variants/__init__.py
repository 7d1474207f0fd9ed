"""Pure functions from recipes to recipes: other backgrounds, occluders, lost patches, corruptions.

No pixel is touched, labels and ids stay. What is random is a hash of the seed and the example's id, so the order of
rows does not matter.
"""

from collections.abc import Callable, Mapping

import pandas as pd

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.tables import CORRUPTIONS, DROPS, REGION_NOISE
from fieldmark.variants import backgrounds, corruptions, occluders
from fieldmark.variants.backgrounds import masked as masked

_OCCLUDERS = {"on_object": occluders.on_object, "off_object": occluders.off_object}
_BACKGROUNDS: dict[str, Callable[..., pd.DataFrame]] = {
    "original": backgrounds.original,
    "only_fg": backgrounds.only_fg,
    "no_fg": backgrounds.no_fg,
    "only_bg_box": backgrounds.only_bg_box,
    "only_bg_tiled": backgrounds.only_bg_tiled,
    "mixed_same": backgrounds.mixed_same,
    "mixed_rand": backgrounds.mixed_rand,
    "mixed_next": backgrounds.mixed_next,
}


def names() -> list[str]:
    """Return what a variant can be called; a part in angle brackets is the caller's.

    >>> names()[:2], names()[-1]
    (['original', 'only_fg'], 'jpeg:<1-5>')
    """
    return [
        *_BACKGROUNDS,
        "background:<number>",
        *(f"{name}:<area>" for name in _OCCLUDERS),
        *(f"{name}:<share>" for name in DROPS),
        *(f"{name}:<sigma>" for name in REGION_NOISE),
        *(f"{family}:<1-5>" for family in CORRUPTIONS),
    ]


def apply(name: str, recipes: pd.DataFrame, *, pairs: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Return ``recipes`` as the variant ``name``, in the same order; the input is not changed.

    Args:
        name: One of ``names()``.
        recipes: A RECIPE table; backgrounds are borrowed within each part.
        pairs: Label -> the background it goes with in training.
        seed: Of what is borrowed from whom.

    Raises:
        FieldmarkError: no such variant, or nothing to borrow a background from.
    """
    kind, _, value = name.partition(":")
    if name in _BACKGROUNDS:
        return _BACKGROUNDS[name](recipes, pairs=pairs, seed=seed)
    if kind == "background" and value.isdecimal() and int(value) > 0:
        return backgrounds.counterfactual(recipes, int(value), seed=seed)
    if kind in _OCCLUDERS and value:
        return _OCCLUDERS[kind](recipes, occluders.area(name))
    if kind in DROPS and value:
        return corruptions.dropped(recipes, name)
    if kind in REGION_NOISE and value:
        return corruptions.noisy(recipes, name)
    if kind in CORRUPTIONS and value:
        return corruptions.corrupted(recipes, name)
    raise FieldmarkError(f"there is no variant '{name}': use one of {', '.join(names())}.")

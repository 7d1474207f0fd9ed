"""Every cut-out on every kind of background, as a test part alone: for a model that has seen none of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.tables import RECIPE, conform
from fieldmark.splits import spurious


def assign(
    index: pd.DataFrame,
    *,
    seed: int,
    pairs: Mapping[str, str],
    count: int,
    crop: Sequence[float] = (0.35, 0.95),
    scale: Sequence[float] = (0.5, 0.75),
    angle: float = 15.0,
) -> pd.DataFrame:
    """Return a RECIPE table of part ``test``, with as many examples of each label on each background.

    Args:
        index: An INDEX table; all its cut-outs and whole scenes are used. The order of rows does not matter.
        seed: Of everything that is drawn.
        pairs: Label -> the background it usually goes with.
        count: Examples at least; rounded up to a multiple of the groups.
        crop: As ``spurious.assign`` has it.
        scale: Likewise.
        angle: Likewise.

    Raises:
        FieldmarkError: sources are missing.
    """
    scenes = index[index["role"] == "scene"].set_index("source_id").sort_index()
    backgrounds, labels = sorted(set(scenes["background"])), sorted(pairs)
    spurious._demand_sources(index, pairs, backgrounds)
    cutouts = index[index["role"] == "cutout"]
    files = {label: np.array(sorted(cutouts.loc[cutouts["label"] == label, "source_id"]), str) for label in labels}
    empty = [label for label in labels if not len(files[label])]
    if empty:
        raise FieldmarkError(
            f"there is no cut-out of {', '.join(empty)}: add some, or leave the class out of the pairs."
        )
    groups = len(labels) * len(backgrounds)
    each, rng = -(-count // groups), np.random.default_rng([seed, groups])
    cells = {(label, background): each for label in labels for background in backgrounds}
    drawn = spurious._cast(cells, files, scenes, rng)
    drawn = drawn.assign(part="test", example_id=[f"test-{row:05d}" for row in range(len(drawn))])
    drawn = drawn.assign(**spurious._crops(scenes.loc[drawn["bg_source"]], [0.0, 1.0], crop, rng))
    drawn = drawn.assign(**spurious._poses(len(drawn), scale, angle, rng))
    return conform(drawn.assign(**spurious._PLAIN), RECIPE)

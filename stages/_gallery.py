"""Pictures of what a model looked at, right and wrong of the test part."""

from pathlib import Path

import numpy as np

from fieldmark.core import layout, store
from fieldmark.core.params import Params
from fieldmark.loading.render import render
from fieldmark.loading.sources import Sources
from fieldmark.report.pictures import Picture


def gallery(params: Params, root: Path, model: str, seed: int) -> list[Picture]:
    """Return half wrong and half right decisions: the surest of each group in turn, no object twice before all came."""
    count = params.report.gallery
    recipes = store.read_table(layout.split(root, params, seed))
    recipes = recipes[recipes["part"] == "test"].reset_index(drop=True)
    said = store.read_table(layout.evaluated(root, model, seed).with_suffix(".predictions.parquet"))
    said = said[said["variant"] == "original"].reset_index(drop=True)
    wrong = said["predicted"] != said["label"]
    turn = said.assign(wrong=wrong, object=recipes["fg_source"])
    turn = turn.sort_values(["probability", "example_id"], ascending=[False, True])
    turn["again"] = turn.groupby(["wrong", "object"]).cumcount()
    turn["turn"] = turn.groupby(["wrong", "again", "group"]).cumcount()
    turn = turn.sort_values(["again", "turn", "group"], kind="stable")
    chosen = [*turn[turn["wrong"]].index[: count // 2], *turn[~turn["wrong"]].index[: count - count // 2]]
    masks_Nhw = np.load(layout.explained(root, model, seed).with_suffix(".masks.npy")).astype(np.float64)
    sources = Sources(layout.raw(root, params), store.read_table(layout.index(root, params)))
    return [
        Picture(
            model,
            render(recipe, sources, params.size).image_HW3,
            masks_Nhw[row],
            str(recipe.label),
            str(recipe.background),
            said["predicted"][row],
            float(said["probability"][row]),
        )  # fmt: skip
        for row, recipe in zip(chosen, recipes.iloc[chosen].itertuples(index=False), strict=True)
    ]

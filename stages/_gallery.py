"""Pictures of what models looked at, right and wrong of the test part."""

from pathlib import Path

import numpy as np
import pandas as pd

from fieldmark.core import layout, store
from fieldmark.core.params import Params
from fieldmark.loading.render import render
from fieldmark.loading.sources import Sources
from fieldmark.report.pictures import Failures, Picture, spread, surest

SAME = 6  # examples that all models are shown on
SUREST = 5  # mistakes of each model


def gallery(params: Params, root: Path, model: str, seed: int) -> list[Picture]:
    """Return mistakes, then right answers; each from the least of the mask on the object to the most of it."""
    told, count = answers(params, root, model, seed), params.report.gallery
    wrong = spread(told[told["wrong"]], count // 2)
    return pictures(params, root, model, seed, told.loc[[*wrong, *spread(told[~told["wrong"]], count - len(wrong))]])


def failures(params: Params, root: Path, model: str, seed: int) -> Failures:
    """Return how often a model is wrong, how sure it then is, and the mistakes it is surest of."""
    told = answers(params, root, model, seed)
    wrong = told[told["wrong"]]
    shown = pictures(params, root, model, seed, wrong.loc[surest(wrong, SUREST)])
    return Failures(len(told), len(wrong), float(wrong["probability"].mean()), shown)


def compared(params: Params, root: Path, seed: int) -> list[Picture]:
    """Return what every model makes of the same examples: those that most of them get wrong, group by group in turn."""
    told = {model: answers(params, root, model, seed) for model in params.models}
    hard = next(iter(told.values()))[["example_id", "group"]].assign(wrong=sum(one["wrong"] for one in told.values()))
    hard = hard.sort_values(["wrong", "example_id"], ascending=[False, True])
    rows = hard.assign(turn=hard.groupby("group").cumcount()).sort_values(["turn", "group"]).index[:SAME]
    return [one for model in told for one in pictures(params, root, model, seed, told[model].loc[rows])]


def answers(params: Params, root: Path, model: str, seed: int) -> pd.DataFrame:
    """Return what a model says of each test example, in their order, and how much of its mask lies on the object."""
    recipes = of_test(params, root, seed)
    said = store.read_table(layout.evaluated(root, model, seed).with_suffix(".predictions.parquet"))
    said = said[said["variant"] == "original"].reset_index(drop=True)
    measured = store.read_table(layout.explained(root, model, seed).with_suffix(".parquet"))
    on_object = measured[measured["metric"] == "energy_pointing"].set_index("example_id")["value"]
    return said.assign(
        wrong=said["predicted"] != said["label"],
        object=recipes["fg_source"],
        on_object=said["example_id"].map(on_object),  # NaN where it was not measured: last
    )


def pictures(params: Params, root: Path, model: str, seed: int, told: pd.DataFrame) -> list[Picture]:
    """Return the examples of ``told``, in its order."""
    masks_Nhw = np.load(layout.explained(root, model, seed).with_suffix(".masks.npy")).astype(np.float64)
    sources = Sources(layout.raw(root, params), store.read_table(layout.index(root, params)))
    recipes = of_test(params, root, seed).loc[told.index]
    return [
        Picture(
            model,
            render(recipe, sources, params.size).image_HW3,
            masks_Nhw[row],
            str(recipe.label),
            str(recipe.background),
            said["predicted"],
            float(said["probability"]),
            float(said["on_object"]),
        )  # fmt: skip
        for recipe, (row, said) in zip(recipes.itertuples(index=False), told.iterrows(), strict=True)
    ]


def of_test(params: Params, root: Path, seed: int) -> pd.DataFrame:
    """Return the recipes of the test part."""
    recipes = store.read_table(layout.split(root, params, seed))
    return recipes[recipes["part"] == "test"].reset_index(drop=True)

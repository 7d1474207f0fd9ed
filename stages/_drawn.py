"""What the report draws from more than the leaderboard: curves, and the same object on many backgrounds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fieldmark.core import layout, store
from fieldmark.core.params import Params
from fieldmark.loading.render import render
from fieldmark.loading.sources import Sources
from fieldmark.report import curves, plots
from fieldmark.report.strips import PICTURES, Answer, Strip, choose, gone, rows_of
from fieldmark.variants import apply
from stages._gallery import of_test
from stages._results import Results, cells

OBJECTS = 6


def measured(results: Results) -> list[curves.Line]:
    """Return the curves that were measured on the test part."""
    return [
        line
        for (model, metric, part), seen in results.observed.items()
        if part == "test"
        for line in curves.lines(model, metric, [one.score for one in seen])
    ]


def trainings(params: Params, epochs: Sequence[Mapping[str, Any]]) -> list[plots.Curve]:
    """Return how each training went; ``epochs`` has a row for each epoch of each cell."""
    return [
        plots.Curve(model, seed, measure, [row[measure] for row in told])
        for model, seed in cells(params)
        for told in [[row for row in epochs if (row["model"], row["seed"]) == (model, seed)]]
        for measure in ("loss", "val_accuracy", "val_worst_group")
    ]


def counterfactuals(params: Params, root: Path, seed: int) -> list[Strip]:
    """Return the objects whose background changes most answers, on each row of variants that was evaluated."""
    tables = {model: layout.evaluated(root, model, seed).with_suffix(".predictions.parquet") for model in params.models}
    said = pd.concat([store.read_table(path).assign(model=model) for model, path in tables.items()], ignore_index=True)
    recipes = of_test(params, root, seed)
    sources = Sources(layout.raw(root, params), store.read_table(layout.index(root, params)))
    objects, found = recipes.set_index("example_id")["fg_source"], []
    for row in rows_of(said["variant"].unique().tolist()):
        varied = {name: apply(name, recipes, pairs=params.split.pairs, seed=seed) for name in row[:PICTURES]}
        asked = said[said["variant"].isin(varied)]
        for example in choose(asked, objects, OBJECTS):
            answers = asked[asked["example_id"] == example]
            place = recipes.index[recipes["example_id"] == example][0]
            shown = [next(table.loc[[place]].itertuples(index=False)) for table in varied.values()]
            found.append(
                Strip(
                    str(recipes["label"][place]),
                    str(recipes["group"][place]),
                    example,
                    list(varied),
                    ["" if recipe.masked else str(recipe.background) for recipe in shown],
                    [render(recipe, sources, params.size).image_HW3 for recipe in shown],
                    {model: _answers(answers[answers["model"] == model], list(varied)) for model in params.models},
                )
            )
    return found


def _answers(said: pd.DataFrame, variants: list[str]) -> list[Answer]:
    """Return what one model says of one example, variant by variant."""
    told = dict(zip(said["variant"], said.to_dict("records"), strict=True))
    return [
        Answer(one["predicted"], one["probability"], None if gone(variant) else one["predicted"] == one["label"])
        for variant in variants
        for one in [told[variant]]
    ]

"""Measure where one cell looked, against the true masks."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fieldmark.core import command, layout, plugins, store
from fieldmark.core.params import Params
from fieldmark.stats import describe, to_table
from fieldmark.variants import apply
from stages._cell import opened
from stages._maps import OWN, Maps
from stages._shown import asked_about, own, shown


def main(params: Params, root: Path, model: str, seed: int) -> None:
    """Measure where one cell looked, against the true masks."""
    view, module = opened(params, root, model, seed)
    recipes = view.part("test")
    maps = Maps(view, module, recipes, partial(apply, pairs=params.split.pairs, seed=seed))
    shared = shown(view, maps, recipes)
    known = {kind: maps.known(kind, shared) for kind in {*params.explain.maps, OWN} if maps.offers(kind)}
    scores: dict[str, Any] = {}
    described: dict[str, Any] = {}
    for name, options in params.explain.measures.items():
        measure = plugins.find("explain", name)
        facts = {"higher_is_better": measure.HIGHER_IS_BETTER, "meaning": measure.MEANING}
        for kind in asked_about(measure.score, [one for one in params.explain.maps if one in known]):
            told = plugins.asked(measure.score, known[kind])
            found = measure.score(**told, **plugins.accepted(measure.score, options))
            found = found if kind == OWN else {f"{metric}@{kind}": score for metric, score in found.items()}
            scores |= found
            described |= {metric: {**describe(score), **facts} for metric, score in found.items()}
    for metric, (score, facts) in own(view, module, maps.batches).items():
        scores[metric], described[metric] = score, {**describe(score), **facts}
    path = layout.explained(root, model, seed)
    store.write_table(path.with_suffix(".parquet"), to_table(scores, recipes).assign(part="test"))
    with store.atomic(path.with_suffix(".masks.npy")) as temporary:
        np.save(temporary, maps.said.masks_Nhw.astype(np.float16))  # rows in the order of the test part
    store.write_json(path, {"test": described})


if __name__ == "__main__":
    command.run(main, ("model", str), ("seed", int))

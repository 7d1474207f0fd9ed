"""Measure where one cell looked, against the true masks."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fieldmark.core import command, layout, plugins, store
from fieldmark.core.params import Params
from fieldmark.stats import recorded
from fieldmark.variants import apply
from stages._cell import opened
from stages._judged import on_validation
from stages._maps import OWN, Maps
from stages._shown import asked_about, own, shown


def main(params: Params, root: Path, model: str, seed: int) -> None:
    """Measure where one cell looked, against the true masks."""
    view, module = opened(params, root, model, seed)
    recipes = view.part("test")
    maps = Maps(view, module, recipes, partial(apply, pairs=params.split.pairs, seed=seed))
    shared = shown(view, maps, recipes)
    known = {kind: maps.known(kind, shared) for kind in {*params.explain.maps, OWN} if maps.offers(kind)}
    found: dict[str, tuple[Any, Any]] = {}
    for name, options in params.explain.measures.items():
        measure = plugins.find("explain", name)
        for kind in asked_about(measure.score, [one for one in params.explain.maps if one in known]):
            measured = plugins.measured(measure, known[kind], options)
            found |= {metric if kind == OWN else f"{metric}@{kind}": one for metric, one in measured.items()}
    found |= own(view, module, maps.batches)
    parts = {"test": recorded(found, recipes, "test"), "val": on_validation(params, view, module)}
    path = layout.explained(root, model, seed)
    tables = pd.concat([table for _, table in parts.values()], ignore_index=True)
    store.write_table(path.with_suffix(".parquet"), tables)
    with store.atomic(path.with_suffix(".masks.npy")) as temporary:
        np.save(temporary, maps.said.masks_Nhw.astype(np.float16))  # rows in the order of the test part
    store.write_json(path, {part: described for part, (described, _) in parts.items()})


if __name__ == "__main__":
    command.run(main, ("model", str), ("seed", int))

"""Measure where one cell looked, against the true masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fieldmark.core import command, layout, plugins, store
from fieldmark.core.params import Params
from fieldmark.stats import describe, to_table
from fieldmark.training.predict import predict
from stages._cell import opened
from stages._judged import on_validation
from stages._shown import own, shown


def main(params: Params, root: Path, model: str, seed: int) -> None:
    """Measure where one cell looked, against the true masks."""
    view, module = opened(params, root, model, seed)
    recipes = view.part("test")
    batches = [*view.in_order(recipes)]
    said = predict(module, batches, device=view.device)
    seen = shown(view, module, batches, said, recipes["example_id"])
    known = {"map_Bhw": said.masks_Nhw.astype(np.float64), "object_BHW": view.object_masks(recipes), **seen}
    scores: dict[str, Any] = {}
    described: dict[str, Any] = {}
    for name, options in params.explain.measures.items():
        measure = plugins.find("explain", name)
        found = measure.score(**plugins.asked(measure.score, known), **plugins.accepted(measure.score, options))
        facts = {"higher_is_better": measure.HIGHER_IS_BETTER, "meaning": measure.MEANING}
        scores |= found
        described |= {metric: {**describe(score), **facts} for metric, score in found.items()}
    for metric, (score, facts) in own(view, module, batches).items():
        scores[metric], described[metric] = score, {**describe(score), **facts}
    path = layout.explained(root, model, seed)
    judged, table = on_validation(params, view, module)
    tables = [to_table(scores, recipes).assign(part="test"), table]
    store.write_table(path.with_suffix(".parquet"), pd.concat(tables, ignore_index=True))
    with store.atomic(path.with_suffix(".masks.npy")) as temporary:
        np.save(temporary, said.masks_Nhw.astype(np.float16))  # rows in the order of the test part
    store.write_json(path, {"test": described, "val": judged})


if __name__ == "__main__":
    command.run(main, ("model", str), ("seed", int))

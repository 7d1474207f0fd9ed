"""Measure how one cell holds when the background changes."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fieldmark.core import command, layout, plugins, store
from fieldmark.core.params import Params
from fieldmark.stats import recorded
from fieldmark.training.predict import predict
from fieldmark.variants import apply
from stages._attack import Attacker
from stages._cell import opened


def main(params: Params, root: Path, model: str, seed: int) -> None:
    """Measure how one cell holds when the background changes."""
    view, module = opened(params, root, model, seed)
    vary = partial(apply, pairs=params.split.pairs, seed=seed)
    shares = view.part("train")["group"].value_counts(normalize=True).to_dict()

    answered: dict[bytes, Any] = {}  # several tests ask about the same recipes

    def answer(recipes: pd.DataFrame) -> Any:
        asked = pd.util.hash_pandas_object(recipes, index=False).to_numpy().tobytes()
        if asked not in answered:
            answered[asked] = predict(module, view.in_order(recipes), device=view.device).probabilities_NK
        return answered[asked]

    known = {"predict": answer, "vary": vary, "classes": view.classes, "pairs": params.split.pairs}
    known |= {"train_groups": shares, "attack": Attacker(view, module, params.embed.batch)}
    described, tables = dict[str, dict[str, Any]](), list[pd.DataFrame]()
    for part, tests in {"test": [*params.evaluate.tests], "val": params.evaluate.validation}.items():
        told, found = {**known, "recipes": view.part(part)}, dict[str, tuple[Any, Any]]()
        for name in tests:
            found |= plugins.measured(plugins.find("robustness", name), told, params.evaluate.tests[name])
        described[part], table = recorded(found, view.part(part), part)
        tables.append(table)
    path = layout.evaluated(root, model, seed)
    store.write_table(path.with_suffix(".parquet"), pd.concat(tables, ignore_index=True))
    said = [answers(name, vary(name, view.part("test")), answer, view.classes) for name in params.evaluate.variants]
    store.write_table(path.with_suffix(".predictions.parquet"), pd.concat(said, ignore_index=True))
    store.write_json(path, described)


def answers(variant: str, recipes: pd.DataFrame, answer: Any, classes: list[str]) -> pd.DataFrame:
    """Return what was said of each example of a variant, and how sure."""
    probabilities_NK = answer(recipes)
    said = {"predicted": np.array(classes)[probabilities_NK.argmax(1)], "probability": probabilities_NK.max(1)}
    return recipes[["example_id", "label", "group"]].assign(variant=variant, **said)


if __name__ == "__main__":
    command.run(main, ("model", str), ("seed", int))

"""Measure where one cell looked, against the true masks."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fieldmark.core import command, layout, plugins, store
from fieldmark.core.params import Params
from fieldmark.loading.keys import keys
from fieldmark.stats import describe, to_table
from fieldmark.training.predict import kept_probability, predict
from stages._cell import View, opened


def main(params: Params, root: Path, model: str, seed: int) -> None:
    """Measure where one cell looked, against the true masks."""
    view, module = opened(params, root, model, seed)
    recipes = view.part("test")
    batches = [*view.in_order(recipes)]
    masks_Nhw = predict(module, batches, device=view.device).masks_Nhw
    seen = {
        "magnitude_Bhw": magnitudes(view, module, batches),
        "key_B": keys(recipes["example_id"]),
        "probability": kept_probability(module, lambda: batches, device=view.device),
    }
    scores: dict[str, Any] = {}
    described: dict[str, Any] = {}
    for name, options in params.explain.measures.items():
        measure = plugins.find("explain", name)
        found = measure.score(
            masks_Nhw.astype(np.float64), view.object_masks(recipes), **seen, **plugins.accepted(measure.score, options)
        )
        facts = {"higher_is_better": measure.HIGHER_IS_BETTER, "meaning": measure.MEANING}
        scores |= found
        described |= {metric: {**describe(score), **facts} for metric, score in found.items()}
    path = layout.explained(root, model, seed)
    store.write_table(path.with_suffix(".parquet"), to_table(scores, recipes).assign(part="test"))
    with store.atomic(path.with_suffix(".masks.npy")) as temporary:
        np.save(temporary, masks_Nhw.astype(np.float16))  # rows in the order of the test part
    store.write_json(path, {"test": described})


def magnitudes(view: View, module: torch.nn.Module, batches: Any) -> Any:
    """Return the length (N, h, w) of each token's feature vector, as float64."""
    if view.plugin.TRAINS_ON == "features":
        norms = [batch.x_BCHW.norm(dim=1) for batch, _, _ in batches]
    else:
        with torch.inference_mode():
            norms = [
                module(batch._replace(x_BCHW=batch.x_BCHW.to(view.device))).extras["norm"] for batch, _, _ in batches
            ]
    return torch.cat(norms).double().cpu().numpy()


if __name__ == "__main__":
    command.run(main, ("model", str), ("seed", int))

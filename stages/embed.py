"""Show every render of one seed to the frozen backbone, once."""

from pathlib import Path

import pandas as pd
import torch

from fieldmark.core import command, device, layout, plugins, store
from fieldmark.core.params import Params
from fieldmark.loading.cache import rendered
from fieldmark.loading.sources import Sources
from fieldmark.training import features
from fieldmark.training.embed import embed
from fieldmark.variants import apply, masked


def renders(params: Params, recipes: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return all recipes a model on features may ask for: each part and each variant of test, in each view."""
    test = recipes[recipes["part"] == "test"]
    variants = [apply(name, test, pairs=params.split.pairs, seed=seed) for name in params.evaluate.variants]
    tables = {"plain": [recipes, *variants], "masked": [recipes[recipes["part"] != "train_unbiased"], *variants]}
    plain = [table for view in params.embed.views if view == "plain" for table in tables[view]]
    true_mask = [masked(table) for view in params.embed.views if view == "masked" for table in tables[view]]
    return pd.concat([*plain, *true_mask], ignore_index=True)


def main(params: Params, root: Path, seed: int) -> None:
    """Show every render of one seed to the frozen backbone, once."""
    torch.set_num_threads(params.threads)
    load = plugins.find("backbones", params.backbone.name).load
    backbone = load(**plugins.accepted(load, params.backbone.options))
    sources = Sources(layout.raw(root, params), store.read_table(layout.index(root, params)))
    wanted = renders(params, store.read_table(layout.split(root, params, seed)), seed)
    folder, workers, on = layout.cache(root) / "rendered", params.threads, device.ready()
    found = rendered(wanted, sources, params.size, folder, workers=workers, desc=f"render seed {seed}")
    facts = {**params.backbone.model_dump(), **backbone.facts()}
    with store.atomic(layout.embedded(root, params, seed)) as temporary:
        temporary.mkdir()
        maps = features.create(temporary, found.keys_U, found.masks_UHW, facts)
        embed(backbone, found.images_UHW3, maps, batch=params.embed.batch, device=on, progress=f"embed seed {seed}")


if __name__ == "__main__":
    command.run(main, ("seed", int))

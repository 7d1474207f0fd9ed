"""Draw the recipes of one seed and let them pass, or say which may not."""

from pathlib import Path

from fieldmark.checks import demand, write_docs
from fieldmark.checks.split import check_split
from fieldmark.core import command, layout, plugins, store, tables
from fieldmark.core.params import Params


def main(params: Params, root: Path, seed: int) -> None:
    """Draw the recipes of one seed and let them pass, or say which may not."""
    recipe, wanted = plugins.find("splits", params.split.recipe), params.split
    index = store.read_table(layout.index(root, params))
    recipes = recipe.assign(
        index,
        seed=seed,
        correlation=wanted.correlation,
        pairs=wanted.pairs,
        train=wanted.train,
        val=wanted.val,
        test=wanted.test,
        **plugins.accepted(recipe.assign, wanted.options),
    )
    recipes = tables.conform(recipes, tables.RECIPE)
    verdict = check_split(recipes, index, correlation=wanted.correlation, pairs=wanted.pairs)
    demand(verdict, f"the split of seed {seed}")
    path = layout.split(root, params, seed)
    store.write_table(path, recipes)
    store.write_json(path.with_suffix(".json"), verdict._asdict())
    write_docs(verdict, path.with_suffix(""))


if __name__ == "__main__":
    command.run(main, ("seed", int))

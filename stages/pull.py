"""Bring the originals of the dataset and index them."""

from pathlib import Path

from fieldmark.core import command, layout, plugins, store, tables
from fieldmark.core.params import Params


def main(params: Params, root: Path) -> None:
    """Bring the originals of the dataset and index them."""
    dataset = plugins.find("datasets", params.dataset.name)
    options = plugins.accepted(dataset.pull, params.dataset.options)
    with store.atomic(layout.raw(root, params)) as folder:
        folder.mkdir()
        dataset.pull(folder, **options)
        index = tables.conform(dataset.index(folder, **options), tables.INDEX)
        store.write_table(folder / "index.parquet", index)


if __name__ == "__main__":
    command.run(main)

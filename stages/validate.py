"""Let the index pass, or say which sources may not."""

from pathlib import Path

from fieldmark.checks import demand, write_docs
from fieldmark.checks.index import check_index
from fieldmark.core import command, layout, plugins, store
from fieldmark.core.params import Params
from fieldmark.core.tables import named


def main(params: Params, root: Path) -> None:
    """Let the index pass, or say which sources may not."""
    dataset = plugins.find("datasets", params.dataset.name)
    index = store.read_table(layout.index(root, params))
    classes, backgrounds = dataset.CLASSES or named(index["label"]), dataset.BACKGROUNDS or named(index["background"])
    verdict = check_index(index, layout.raw(root, params), classes=classes, backgrounds=backgrounds)
    demand(verdict, f"the index of {params.dataset.name}")
    store.write_json(layout.validated(root, params), verdict._asdict())
    write_docs(verdict, layout.validated(root, params).with_suffix(""))


if __name__ == "__main__":
    command.run(main)

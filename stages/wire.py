"""Write down what each word of ``models`` is made of, so that a cell depends on that and on nothing else."""

from pathlib import Path

from fieldmark.core import command, layout, plugins, store
from fieldmark.core.params import Params


def main(params: Params, root: Path) -> None:
    """Write down what each word of ``models`` is made of, so that a cell depends on that and on nothing else."""
    code = Path(plugins.__file__).parents[2]
    with store.atomic(layout.wired(root, "").parent) as folder:
        folder.mkdir()
        for word, model in params.models.items():
            files = plugins.files("models", model.plugin, model.options) + plugins.files("objectives", model.objective)
            files += plugins.files("backbones", model.backbone.name) if model.backbone else []
            made_of = {"model": model.model_dump(), "code": {file: store.sha256(code / file) for file in files}}
            store.write_json(folder / f"{word}.json", made_of)


if __name__ == "__main__":
    command.run(main)

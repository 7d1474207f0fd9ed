"""Train one cell: a model on a seed."""

from pathlib import Path

from fieldmark.core import command, layout, plugins, store
from fieldmark.core.params import Params
from fieldmark.tracking import lineage
from fieldmark.tracking.dvclock import content_hash
from fieldmark.tracking.record import Dataset
from fieldmark.tracking.runs import cell_run
from fieldmark.training.checkpoint import write_weights
from fieldmark.training.fit import fit, initialised
from fieldmark.training.predict import measures, predict
from stages._cell import View


def main(params: Params, root: Path, model: str, seed: int) -> None:
    """Train one cell: a model on a seed."""
    view, cell = View(params, root, model, seed), f"{model}-{seed}"
    split = layout.split(root, params, seed)
    name, digest, source = f"{params.dataset.name}/{seed}", content_hash(split), str(split.relative_to(root))
    datasets = [Dataset(f"{name} {part}", digest, source, part) for part in (view.plugin.TRAIN_PART, "val")]
    wanted = {"model": view.config(), "train": params.train.model_dump(), "split": params.split.model_dump()}
    validation = [*view.in_order(view.part("val"))]
    parent, code = lineage.reproduction(root), plugins.code()
    with cell_run(root, cell=f"train@{cell}", parent_key=parent, params=wanted, datasets=datasets) as run:
        module = initialised(view.build, seed)
        history = fit(
            module,
            view.shuffled(view.part(view.plugin.TRAIN_PART)),
            loss=plugins.find("objectives", params.train.objective).loss,
            epochs=params.train.epochs,
            lr=params.train.lr,
            weight_decay=params.train.weight_decay,
            seed=seed,
            validate=lambda module: measures(predict(module, validation, device=view.device)),
            log=run.log_epoch,
            checkpoint=layout.cache(root) / "checkpoints" / f"{cell}.safetensors",
            every=params.train.checkpoint_every,
            key=store.fingerprint([wanted, digest, code]),
            device=view.device,
            progress=f"train {cell}",
        )
        with store.atomic(layout.trained(root, model, seed)) as folder:
            folder.mkdir()
            write_weights(folder / "weights.safetensors", module)
            store.write_json(folder / "config.json", view.config())
            store.write_json(folder / "history.json", history)
        run.finish(lineage.cell_fingerprint(layout.trained(root, model, seed)), history)


if __name__ == "__main__":
    command.run(main, ("model", str), ("seed", int))

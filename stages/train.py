"""Train one cell: a model on a seed."""

from functools import partial
from pathlib import Path

from torch import nn

from fieldmark.core import command, layout, plugins, store
from fieldmark.core.params import Params
from fieldmark.tracking import lineage
from fieldmark.tracking.dvclock import content_hash
from fieldmark.tracking.record import Dataset
from fieldmark.tracking.runs import cell_run
from fieldmark.training.checkpoint import History, write_weights
from fieldmark.training.fit import fit, initialised
from fieldmark.training.phases import named, phases
from fieldmark.training.predict import measures, predict
from fieldmark.training.rounds import train
from stages._cell import View


def main(params: Params, root: Path, model: str, seed: int) -> None:
    """Train one cell: a model on a seed."""
    view, cell = View(params, root, model, seed), f"{model}-{seed}"
    split, name = layout.split(root, params, seed), f"{params.dataset.name}/{seed}"
    digest, source = content_hash(split), str(split.relative_to(root))
    datasets = [Dataset(f"{name} {part}", digest, source, part) for part in (view.plugin.TRAIN_PART, "val")]
    how, validation = view.training, [*view.in_order(view.part("val"))]
    code, wanted = plugins.code(), {"model": view.config(), "word": view.model.model_dump(), "train": how.model_dump()}
    wanted["split"], parent = params.split.model_dump(), lineage.reproduction(root)
    with cell_run(root, cell=f"train@{cell}", parent_key=parent, params=wanted, datasets=datasets) as run:

        def taught(phase: str, part: nn.Module) -> History:
            return train(
                part, view.objective(), view.lessons, seen=lambda: view.in_order(view.taught),
                held_out=lambda: validation, epochs=how.epochs, device=view.device,
                checkpoint=layout.cache(root) / "checkpoints" / f"{cell}{phase}.safetensors",
                key=store.fingerprint([wanted, digest, code, phase]),
                fit=partial(
                    fit, lr=how.lr, weight_decay=how.weight_decay, seed=seed, device=view.device,
                    validate=lambda module: measures(predict(module, validation, device=view.device)),
                    log=lambda row: run.log_epoch(named(row, phase)), every=how.checkpoint_every,
                    progress=f"train {cell} {phase}".strip(),
                ),
            )  # fmt: skip

        module = initialised(view.build, seed)
        histories = {phase: taught(phase, part) for phase, part in phases(module)}
        with store.atomic(layout.trained(root, model, seed)) as folder:
            folder.mkdir()
            write_weights(folder / "weights.safetensors", module)
            earlier = {phase: rows for phase, rows in histories.items() if phase}
            told = {"config": view.config(), "history": histories[""], "phases": earlier, "cost": view.cost(module)}
            for file, value in told.items():
                store.write_json(folder / f"{file}.json", value)
        run.finish(lineage.cell_fingerprint(layout.trained(root, model, seed)), histories[""])


if __name__ == "__main__":
    command.run(main, ("model", str), ("seed", int))

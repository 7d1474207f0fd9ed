"""Train one cell: a model on a seed."""

from functools import partial
from pathlib import Path

from fieldmark.core import command, layout, plugins, store
from fieldmark.core.params import Params
from fieldmark.tracking import lineage
from fieldmark.tracking.dvclock import content_hash
from fieldmark.tracking.record import Dataset, Run
from fieldmark.tracking.runs import cell_run
from fieldmark.training.checkpoint import write_weights
from fieldmark.training.fit import fit, initialised
from fieldmark.training.phases import named, phases
from fieldmark.training.predict import measures, predict
from stages._cell import View


def main(params: Params, root: Path, model: str, seed: int) -> None:
    """Train one cell: a model on a seed."""
    view, cell = View(params, root, model, seed), f"{model}-{seed}"
    split = layout.split(root, params, seed)
    name, digest, source = f"{params.dataset.name}/{seed}", content_hash(split), str(split.relative_to(root))
    datasets = [Dataset(f"{name} {part}", digest, source, part) for part in (view.plugin.TRAIN_PART, "val")]
    how = view.training.model_dump(exclude={"objective", "checkpoint_every", "workers", "batch"})
    wanted = {"model": view.config(), "word": view.model.model_dump(), "split": params.split.model_dump()}
    wanted["train"] = view.training.model_dump()
    lessons, validation = view.shuffled(view.lessons()), [*view.in_order(view.part("val"))]
    parent, code = lineage.reproduction(root), plugins.code()
    with cell_run(root, cell=f"train@{cell}", parent_key=parent, params=wanted, datasets=datasets) as run:
        module, histories = initialised(view.build, seed), {}
        for phase, part in phases(module):
            histories[phase] = fit(
                part,
                lessons,
                loss=plugins.find("objectives", view.model.objective).loss,
                **how,
                seed=seed,
                validate=lambda part: measures(predict(part, validation, device=view.device)),
                log=partial(log, run, phase),
                checkpoint=layout.cache(root) / "checkpoints" / f"{cell}{phase}.safetensors",
                every=params.train.checkpoint_every,
                key=store.fingerprint([wanted, digest, code, phase]),
                device=view.device,
                progress=f"train {cell} {phase}".strip(),
            )
        history = histories.pop("")
        with store.atomic(layout.trained(root, model, seed)) as folder:
            folder.mkdir()
            write_weights(folder / "weights.safetensors", module)
            store.write_json(folder / "config.json", view.config())
            store.write_json(folder / "history.json", history)
            for phase, rows in histories.items():
                store.write_json(folder / f"history.{phase}.json", rows)
        run.finish(lineage.cell_fingerprint(layout.trained(root, model, seed)), history)


def log(run: Run, phase: str, row: dict[str, float]) -> None:
    """Log a row of a phase's history."""
    run.log_epoch(named(row, phase))


if __name__ == "__main__":
    command.run(main, ("model", str), ("seed", int))

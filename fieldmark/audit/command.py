"""`fieldmark audit`: one command, from a classifier to a report of how much it leans on the background."""

from __future__ import annotations

import argparse
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from fieldmark.core import store

EXAMPLES, LOOKED = 400, 48


def arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be asked."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="models:/NAME@ALIAS, runs:/..., a folder (transformers, MLflow, data/trained/CELL), *.onnx or module:object")  # fmt: skip # noqa: E501
    add("--data", metavar="NAME|FOLDER", help="wildstamps, shapes, or a folder with objects/<class>/ and scenes/<background>/ (default: this project's)")  # fmt: skip # noqa: E501
    add("--classes", metavar="MAP", help="what the model's classes are called in the data: 'duck=bird,*dog*=land mammal', or a YAML file (bird: [duck, goose])")  # fmt: skip # noqa: E501
    add("--pairs", metavar="MAP", help="the background each class usually stands on: 'bird=water,land mammal=land'")
    add("--config", metavar="JSON", type=Path, help="classes, size, mean and std, where the model does not say them")
    add("--examples", metavar="N", type=int, default=EXAMPLES, help=f"pictures, as many of each group (default: {EXAMPLES})")  # fmt: skip # noqa: E501
    add("--look", metavar="N", type=int, default=LOOKED, help=f"pictures on which patches are hidden, 50 questions each (default: {LOOKED})")  # fmt: skip # noqa: E501
    add("--seed", type=int, help="of the split and of whose background is borrowed (default: the model's own, or 0)")
    add("--all", action="store_true", help="every robustness test there is, not those of params.yaml or the usual ones")
    add("--out", metavar="FOLDER", type=Path, help="where to write (default: audit/<name of the model>)")
    add("--log", action="store_true", help="also record the audit as a run of MLflow")


def run(options: argparse.Namespace) -> None:
    """Audit a model and write what was found."""
    from fieldmark.audit.audit import audit
    from fieldmark.audit.writing import terminal, write

    root = options.root.resolve()
    folder = store.writable(options.out or root / "audit" / name(options.model))  # before the work, not after
    try:
        found = audit(
            options.model,
            root,
            data=options.data,
            classes=options.classes,
            pairs=options.pairs,
            config=options.config,
            count=options.examples,
            looked=options.look,
            seed=options.seed,
            everything=options.all,
        )
    except BaseException:
        with suppress(OSError):  # what others wrote there stays
            folder.rmdir()
        raise
    files = write(found, folder)
    print(terminal(found))
    print(f"\nthe report   {files['report.html']}\nall numbers  {files['audit.json']}")
    if options.log:
        print(f"the run      {_log(root, options.model, found, files)}   (fieldmark ui)")


def name(model: str) -> str:
    """Return a name for a folder.

    >>> name("models:/fieldmark@champion"), name("exports/duck net.onnx"), name("./resnet/")
    ('fieldmark@champion', 'duck-net', 'resnet')
    """
    last = Path(model).resolve().name if ":" not in model else model.removeprefix("models:/").removeprefix("runs:/")
    return re.sub(r"[^\w.@-]+", "-", last.removesuffix(".onnx")).strip("-.") or "model"


def _log(root: Path, model: str, found: Any, files: dict[str, Path]) -> str:
    from fieldmark.audit.audit import MODEL
    from fieldmark.tracking import audits

    measures = {row["metric"].replace(":", "/"): row["mean"] for row in found.rows if row["model"] == MODEL}
    tags = {"fieldmark.audit": model, **{f"fieldmark.{what}": value for what, value in found.fingerprints.items()}}
    params = {"model": model, "data": found.examples.about, "examples": len(found.examples.recipes)}
    return audits.log(
        root, name(model), params=params, measures=measures, files=files.values(), tags=tags,
        description="\n\n".join(found.said),
    )  # fmt: skip

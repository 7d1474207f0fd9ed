"""The command `fieldmark`: ask a model where it comes from, why it is the champion, and what it sees."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fieldmark.audit import command as audit
from fieldmark.core import layout
from fieldmark.core.allocator import keep_memory
from fieldmark.core.errors import FieldmarkError, exit_on_mistake
from fieldmark.core.params import load

CHAMPION = "default: the champion of this project"


def main(arguments: list[str] | None = None) -> None:
    """Run one command; a mistake is one sentence and exit code 1."""
    options = _parser().parse_args(arguments)
    keep_memory()
    exit_on_mistake(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    if not options.root.is_dir():
        raise FieldmarkError(f"{options.root} is no folder: name the project's with --root.")
    command: Callable[[argparse.Namespace], None] = options.command
    command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fieldmark", description="Ask a trained model for its origin, its reasons and its view."
    )
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the project (default: this one)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    add("show", show, "Print the leaderboard and what to open.")
    one = add("trace", trace, "Follow a model, or a trained cell, down to the sha256 of every source image.")
    one.add_argument("what", metavar="MODEL_URI|CELL", nargs="?", help=f"models:/NAME/2, or ersm-0 ({CHAMPION})")
    one.add_argument("--all", action="store_true", help="name every source image, not the first few")
    one.add_argument("--json", action="store_true", help="the whole trace as JSON")
    one = add("why", why, "Tell on one screen what a model is, its numbers beside the others' and what the gate said.")
    one.add_argument("model", metavar="MODEL_URI", nargs="?", help=f"models:/NAME/2 ({CHAMPION})")
    add("verify", verify, "Hash results, sources, the champion and the ledger again; exit code 1 if anything differs.")
    one = add("predict", predict, "Classify images and show where the model looked.")
    one.add_argument("images", metavar="IMAGE", nargs="+", type=Path)
    one.add_argument("--model", metavar="MODEL_URI", help=f"models:/NAME/2 ({CHAMPION})")
    one.add_argument("--drop-part", metavar="K", type=int, action="append", default=[], help="answer without this part")
    one.add_argument("--mask", metavar="FILE", type=Path, help="decide from what is white in this picture")
    one.add_argument("--overlays", metavar="FOLDER", type=Path, help="write a PNG of each image with its mask here")
    one.add_argument("--json", action="store_true", help="the answers as JSON, with the probability of every class")
    audit.arguments(
        add("audit", audit.run, "Measure how much a classifier, trained anywhere, leans on the background.")
    )
    add("doctor", doctor, "Look at this machine and this project, and say what to do.")
    one = add("ui", ui, "Open MLflow's pages on this machine only.")
    one.add_argument("--port", type=int, default=5000)
    return parser


def show(options: argparse.Namespace) -> None:
    """Print the leaderboard of the last report."""
    from fieldmark.core.store import read_json
    from fieldmark.report.leaderboard import leaderboard_text

    folder = layout.report(options.root.resolve())
    if not (folder / "leaderboard.json").exists():
        raise FieldmarkError(f"{folder} holds no leaderboard yet: run make repro (or dvc repro report).")
    rows = read_json(folder / "leaderboard.json")
    print(leaderboard_text(rows, list(dict.fromkeys(row["model"] for row in rows))))
    page = folder / "report.html"  # which git does not keep, unlike the leaderboard
    print(f"\nthe report     {page if page.exists() else 'not made here yet: run make repro'}")
    print("the champion   fieldmark why   (its origin: fieldmark trace)")
    print("every run      fieldmark ui    then open http://127.0.0.1:5000")


def trace(options: argparse.Namespace) -> None:
    """Print where a model or cell comes from."""
    from fieldmark.tracking import registry
    from fieldmark.tracking import trace as tracing
    from fieldmark.tracking.store import reading

    what = options.what or registry.champion_uri(options.root)
    if what.startswith("models:"):
        with reading(options.root) as store:
            found = tracing.trace_model(store, what)
    else:
        cell = what if "@" in what else f"train@{what}"
        root = options.root.resolve()
        found = tracing.trace_cell(root, cell, layout.index(root, load(root / "params.yaml")))
    print(json.dumps(found._asdict(), indent=2) if options.json else tracing.tree(found, everything=options.all))


def why(options: argparse.Namespace) -> None:
    """Print a model's story."""
    from fieldmark.tracking import ledger, registry
    from fieldmark.tracking import trace as tracing
    from fieldmark.tracking import why as story
    from fieldmark.tracking.store import reading

    with reading(options.root) as store:
        version, card = tracing.card(store, options.model or registry.champion_uri(options.root))
    print(story.render(version, card, ledger.read(layout.ledger(options.root))))


def verify(options: argparse.Namespace) -> None:
    """Hash everything again."""
    from fieldmark.tracking import database, registry, verify
    from fieldmark.tracking import trace as tracing
    from fieldmark.tracking.store import connect

    root = options.root.resolve()
    params = load(root / "params.yaml")
    name, champion = params.register_.name, None
    problems = [*verify.outputs(root, params), *verify.sources(layout.index(root, params))]
    if database.written(root):  # connecting would make an empty one
        with connect(root) as store:
            champion = registry.champion(store, name)
            if champion:
                problems += tracing.weights_problems(store, f"models:/{name}/{champion.version}")
    problems += verify.decisions(layout.ledger(root), name, champion.version if champion else None)
    if problems:
        raise FieldmarkError("\n  ".join([f"{len(problems)} things are not what was written down:", *problems]))
    print(
        f"all is as written down: outputs, sources, ledger{', champion' if champion else ' (there is no champion yet)'}"
    )


def predict(options: argparse.Namespace) -> None:
    """Print class, probability and mask area of each image."""
    from fieldmark.pictures import overlay_files, read_image, read_mask, write_overlays
    from fieldmark.tracking import model, registry
    from fieldmark.tracking.store import reading

    images = [read_image(path) for path in options.images]
    keep = [read_mask(options.mask)] * len(images) if options.mask else None
    overlays = overlay_files(options.overlays, options.images) if options.overlays else []  # refused before the work
    uri = options.model or registry.champion_uri(options.root)
    with reading(options.root) as store:
        if model.code_has_changed(store, uri):
            print(f"fieldmark: code has changed since {uri} was registered, and answers may have.", file=sys.stderr)
        classifier = model.classifier(store, uri)
    answer = classifier.predict(images, keep=keep, drop_parts=options.drop_part)
    found = zip(options.images, answer.label, answer.probabilities, answer.mask, strict=True)
    rows = [
        {
            "image": str(path),
            "class": str(label),
            "probability": float(probability_K.max()),
            "mask_area": float(mask_hw.mean()),
            "probabilities": dict(zip(classifier.config["classes"], probability_K.tolist(), strict=True)),
        }
        for path, label, probability_K, mask_hw in found
    ]
    print(json.dumps(rows, indent=2) if options.json else _aligned(rows))
    if overlays:
        write_overlays(overlays, images, answer.mask)


def _aligned(rows: list[dict[str, Any]]) -> str:
    """Return a line per image, under a header, in columns.

    >>> print(_aligned([{"image": "duck.png", "class": "bird", "probability": 0.75, "mask_area": 1.0}]))
    image     class  probability  mask area
    duck.png  bird         0.750      1.000
    """
    said = [(row["image"], row["class"], f"{row['probability']:.3f}", f"{row['mask_area']:.3f}") for row in rows]
    lines = [("image", "class", "probability", "mask area"), *said]
    image, label, probability, area = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join(f"{a:{image}}  {b:{label}}  {c:>{probability}}  {d:>{area}}" for a, b, c, d in lines)


def doctor(options: argparse.Namespace) -> None:
    """Print what is good and what needs care."""
    from fieldmark import doctor

    print(doctor.render(list(doctor.examine(options.root))))


def ui(options: argparse.Namespace) -> None:
    """Become MLflow's server, bound to this machine."""
    from fieldmark.tracking import pages

    pages.serve(options.root, options.port)


if __name__ == "__main__":
    main()

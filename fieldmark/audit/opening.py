"""From a word to a classifier: a registered model, a folder, a file or a Python object."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fieldmark.core import plugins
from fieldmark.core.contracts import BlackBox
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import read_object, sha256

MODELS = (
    "models:/<name>@<alias>, runs:/<id>/<path>, a folder of transformers (config.json and *.safetensors), an MLflow "
    "model or a cell of data/trained, an *.onnx file, or module:object"
)
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib")
_OTHERS = (".h5", ".keras", ".tflite", ".safetensors", ".pb")


class Opened(NamedTuple):
    """A classifier, and the seed of the split it was trained on if fieldmark did it."""

    box: BlackBox
    seed: int | None = None


@contextmanager
def opened(what: str, root: Path, facts: Mapping[str, Any]) -> Iterator[Opened]:
    """Yield the classifier that ``what`` names; ``facts`` count instead of what it says of itself.

    Raises:
        FieldmarkError: nothing of the kind; the sentence says what there could be.
    """
    with ExitStack() as stack:
        if what.startswith(("models:/", "runs:/")):
            from fieldmark.tracking import foreign
            from fieldmark.tracking.store import reading

            store = stack.enter_context(reading(root))
            into = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fieldmark-")))
            yield _folder(foreign.fetched(store, what, into), facts, what)
        else:
            yield _here(what, facts)


def _here(what: str, facts: Mapping[str, Any]) -> Opened:
    for name in plugins.names("classifiers"):
        plugin = plugins.find("classifiers", name)
        if plugin.recognises(what):
            return Opened(plugin.load(what, facts))
    path = Path(what)
    if path.suffix.lower() in _PICKLES:
        raise FieldmarkError(
            f"{what} is a pickle, which runs whatever its maker wrote: export the model by torch.onnx.export(model, "
            f"images, '{path.stem}.onnx') or model.save_pretrained('{path.stem}') and audit that."
        )
    if path.suffix.lower() in _OTHERS:
        raise FieldmarkError(f"{what} says nothing of its network: export the model to ONNX, or give {MODELS}.")
    if not path.is_dir():
        raise FieldmarkError(f"there is no model '{what}': give {MODELS}.")
    return _folder(path, facts, what)


def _folder(folder: Path, facts: Mapping[str, Any], what: str) -> Opened:
    """Open what lies in a folder: a cell, an MLflow model, or what one of the room's plugins knows."""
    if (folder / "MLmodel").is_file():
        return _mlflow(folder, facts, what)
    config = folder / "config.json"
    if config.is_file() and "backbone" in read_object(config):
        return _ours(folder, what)
    transformers = plugins.find("classifiers", "transformers_folder")
    files = sorted(folder.glob("*.onnx"))
    if not transformers.recognises(str(folder)) and len(files) == 1:
        return Opened(plugins.find("classifiers", "onnx_file").load(str(files[0]), facts))
    if not config.is_file():
        held = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise FieldmarkError(f"{what} holds no config.json and no single ONNX file (but {held}): give {MODELS}.")
    return Opened(transformers.load(str(folder), facts))


def _mlflow(folder: Path, facts: Mapping[str, Any], what: str) -> Opened:
    from fieldmark.tracking import foreign

    found = foreign.flavours(folder)
    if "onnx" in found:
        return Opened(plugins.find("classifiers", "onnx_file").load(str(folder / found["onnx"]["data"]), facts))
    if "transformers" in found:
        inside = folder / found["transformers"].get("model_binary", "model")
        return Opened(plugins.find("classifiers", "transformers_folder").load(str(inside), facts))
    cells = [path.parent for path in folder.glob("artifacts/*/config.json") if "backbone" in read_object(path)]
    return _ours(cells[0], what) if cells else Opened(_coded(folder, foreign.predictor(folder), facts, what))


def _ours(folder: Path, what: str) -> Opened:
    """Open a classifier that fieldmark trained."""
    from fieldmark.serve import Classifier

    classifier = Classifier.load(folder)
    config = classifier.config
    files = {name: sha256(folder / name) for name in ("config.json", "weights.safetensors")}
    about = f"fieldmark's {config['model']}, seed {config['seed']}" + (f", {what}" if ":/" in what else "")
    box = BlackBox(
        tuple(config["classes"]), config["size"], lambda images: classifier.predict(images).probabilities, files, about
    )
    return Opened(box, config["seed"])


def _coded(folder: Path, predict: Any, facts: Mapping[str, Any], what: str) -> BlackBox:
    """Open a model whose ``predict`` takes pictures (N, H, W, 3), uint8, and gives probabilities (N, classes)."""
    if not facts.get("classes") or not facts.get("size"):
        raise FieldmarkError(
            f'{what} does not say its classes and size: write down {{"classes": ["bird", "dog"], "size": 224}} and '
            "give that file with --config."
        )
    classes = tuple(map(str, facts["classes"]))

    def probabilities(images_BHW3: Any) -> Any:
        said = predict(images_BHW3)
        answers_BK = np.asarray(said["probabilities"] if isinstance(said, dict) else said, np.float32)
        if answers_BK.shape != (len(images_BHW3), len(classes)):
            raise FieldmarkError(
                f"{what} answered {answers_BK.shape} for {len(images_BHW3)} pictures, {len(classes)} classes."
            )
        return answers_BK

    files = {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    return BlackBox(classes, int(facts["size"]), probabilities, files, "MLflow model from code")

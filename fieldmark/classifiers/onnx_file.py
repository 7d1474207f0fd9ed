"""An ONNX file, run by onnxruntime on the CPU; a JSON beside it says its classes and how pixels become numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fieldmark.classifiers._pixels import KEYS, Floats, Pixels, described, hashes, parsed, processed, softmax
from fieldmark.core.contracts import BlackBox
from fieldmark.core.errors import FieldmarkError

KIND = "ONNX file"
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def recognises(what: str) -> bool:
    """Tell whether ``what`` names an ONNX file."""
    return what.endswith(".onnx")


def load(what: str, facts: Mapping[str, Any]) -> BlackBox:
    """Open an ONNX file with one input of pictures and, as its first answer of two axes, logits or probabilities.

    Classes, size, mean and std are those of ``facts``, else of ``<name>.json`` beside the file, else of the file's own
    ``metadata_props`` (values in JSON), else of the ``config.json`` and ``preprocessor_config.json`` that optimum
    leaves beside it. The size may also be the graph's.

    Raises:
        FieldmarkError: no such file, no onnxruntime, a graph of another kind, or no word on its classes.
    """
    path = Path(what)
    if not path.is_file():
        raise FieldmarkError(f"there is no file {path}: give the path of an ONNX file.")
    session = _session(path)
    if len(session.get_inputs()) != 1 or len(session.get_inputs()[0].shape) != 4:
        shapes = ", ".join(f"{one.name} {one.shape}" for one in session.get_inputs())
        raise FieldmarkError(f"{path} reads {shapes}: export it with one input of shape (N, 3, H, W).")
    own = _own(path, session)
    channels_last = session.get_inputs()[0].shape[3] == 3
    sides = [side for side in session.get_inputs()[0].shape[1:3] + session.get_inputs()[0].shape[3:] if side != 3]
    shape = {"size": sides[0]} if sides and isinstance(sides[0], int) else {}
    sees = described({"layout": "NHWC" if channels_last else "NCHW", **shape, **own, **facts}, str(path))
    files = [path, *path.parent.glob(f"{path.name}.data"), *path.parent.glob(f"{path.stem}.json")]
    return BlackBox(sees.classes, sees.size, _Answers(session, sees, path), hashes(*files), KIND)


class _Answers:
    """Pictures in, probabilities out, in the batches that the graph asks for."""

    def __init__(self, session: Any, sees: Any, path: Path) -> None:
        self._session, self._sees, self._path = session, sees, path
        (self._input,) = session.get_inputs()
        fixed = self._input.shape[0]
        self._batch = fixed if isinstance(fixed, int) else None

    def __call__(self, images_BHW3: Pixels) -> Floats:
        step = self._batch or len(images_BHW3)
        parts = [self._some(images_BHW3[start : start + step]) for start in range(0, len(images_BHW3), step)]
        return np.concatenate(parts)

    def _some(self, images_BHW3: Pixels) -> Floats:
        count, wanted = len(images_BHW3), self._batch or len(images_BHW3)
        padded = np.concatenate([images_BHW3, np.repeat(images_BHW3[-1:], wanted - count, axis=0)])
        x = self._sees.numbers(padded).astype(_TYPES.get(self._input.type, np.float32))
        answers = next((found for found in self._session.run(None, {self._input.name: x}) if np.ndim(found) == 2), None)
        if answers is None or np.shape(answers)[1] != len(self._sees.classes):
            shape = "nothing of two axes" if answers is None else f"{np.shape(answers)[1]} numbers a picture"
            raise FieldmarkError(
                f"{self._path} answers with {shape}, but {len(self._sees.classes)} classes are named: name as many "
                "classes as it has, and let it answer (N, classes)."
            )
        return softmax(np.asarray(answers)[:count])


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise FieldmarkError("onnxruntime is not installed: pip install 'fieldmark[audit]'.") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each of its fifteen exceptions derives from this alone
        said = " ".join(str(error).split())[:200]
        raise FieldmarkError(f"{path} can't be opened by onnxruntime ({said}): export it again.") from None


def _own(path: Path, session: Any) -> dict[str, Any]:
    """Return the first description there is."""
    beside, inside = path.with_suffix(".json"), session.get_modelmeta().custom_metadata_map
    if beside.is_file():
        return parsed(beside.read_text(), str(beside))
    told = {key: inside[key] for key in KEYS if key in inside}
    if told:
        return parsed("{" + ",".join(f'"{key}":{value}' for key, value in told.items()) + "}", f"metadata of {path}")
    return processed(path.parent) if (path.parent / "config.json").is_file() else {}

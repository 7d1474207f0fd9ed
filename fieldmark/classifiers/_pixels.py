"""What a classifier wants to know of a picture: names of classes, the side it sees, how pixels become numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import read_object, sha256

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

EXAMPLE = '{"classes": ["bird", "dog"], "size": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'
KEYS = ("classes", "size", "mean", "std", "scale", "layout")
PROBE = 256  # px, side of the pictures by which a processor is known
_SAY = f"write down how pixels become numbers as {EXAMPLE} and give that file with --config."


class Input(NamedTuple):
    """How pictures go in: ``(pixel * scale - mean) / std``, channel by channel in the order red, green, blue."""

    classes: tuple[str, ...]
    size: int  # px, side of the square
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 1 / 255
    layout: str = "NCHW"  # or NHWC

    def numbers(self, images_BHW3: Pixels) -> Floats:
        """Return what the network reads: (B, 3, H, W), or (B, H, W, 3) where that is its layout."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        x_BHW3 = (images_BHW3.astype(np.float32) * np.float32(self.scale) - mean) / std
        return np.ascontiguousarray(x_BHW3.transpose(0, 3, 1, 2)) if self.layout == "NCHW" else x_BHW3


def described(facts: Mapping[str, Any], what: str) -> Input:
    """Return the input that ``facts`` describe.

    Raises:
        FieldmarkError: a key is missing, unknown or of no use.

    >>> described({"classes": ["a", "b"], "size": 32}, "it").mean
    (0.0, 0.0, 0.0)
    """
    unknown, missing = sorted(set(facts) - {*KEYS}), [key for key in ("classes", "size") if not facts.get(key)]
    if unknown:
        raise FieldmarkError(f"the description of {what} has unknown keys ({', '.join(unknown)}): use {EXAMPLE}.")
    if missing:
        raise FieldmarkError(
            f"nothing says the {' and the '.join(missing)} of {what}: write them down as {EXAMPLE} and give that file "
            "with --config."
        )
    try:
        found = Input(tuple(map(str, facts["classes"])), int(facts["size"]))
        triples: dict[str, Any] = {key: tuple(map(float, facts[key])) for key in ("mean", "std") if key in facts}
        found = found._replace(**triples)._replace(**{key: facts[key] for key in ("scale", "layout") if key in facts})
        found = found._replace(scale=float(found.scale))
        usable = (
            isinstance(facts["classes"], list | tuple)
            and all(len(triple) == 3 for triple in triples.values())
            and all(found.std)
            and found.size > 0
        )
    except (TypeError, ValueError):
        usable = False
    if not usable or found.layout not in ("NCHW", "NHWC") or len(found.classes) < 2:
        raise FieldmarkError(f"the description of {what} can't be followed: write it as {EXAMPLE}.")
    return found


def processed(folder: Path) -> dict[str, Any]:
    """Return what transformers' ``config.json`` and ``preprocessor_config.json`` in a folder say, as far as they do.

    The processor is asked and not read: its answers to a black and a white picture tell mean and deviation, and their
    shape the side that the network sees, whatever words its file uses. Pictures are rendered at that side, so nothing
    is left to resize or crop.

    Raises:
        FieldmarkError: the processor can't be built, or does more than shift and scale.
    """
    names = read_object(folder / "config.json").get("id2label") or {}
    facts: dict[str, Any] = {"classes": [names[key] for key in sorted(names, key=int)]} if names else {}
    if not (folder / "preprocessor_config.json").exists():
        return facts
    import transformers

    auto: Any = transformers.AutoImageProcessor  # it has no types
    try:
        processor = auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        black_3HW, white_3HW = (np.asarray(_processed(processor, level), np.float64) for level in (0, 255))
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:  # what its many classes raise
        raise FieldmarkError(
            f"{folder}/preprocessor_config.json can't be followed ({str(error)[:200]}): {_SAY}"
        ) from None
    black_3, white_3 = (x_3HW[:, 0, 0] for x_3HW in (black_3HW, white_3HW))
    flat = black_3HW.shape[0] == 3 and max(np.ptp(black_3HW, (1, 2)).max(), np.ptp(white_3HW, (1, 2)).max()) < 1e-5
    if not flat or (white_3 == black_3).any() or black_3HW.shape[1] != black_3HW.shape[2]:
        raise FieldmarkError(f"{folder}/preprocessor_config.json does more than shift and scale a square: {_SAY}")
    std_3 = 1 / (white_3 - black_3)
    return facts | {"size": black_3HW.shape[1], "mean": (-black_3 * std_3).tolist(), "std": std_3.tolist()}


def _processed(processor: Any, level: int) -> Any:
    """Return what becomes of a picture that is ``level`` all over."""
    return processor(images=np.full((PROBE, PROBE, 3), level, np.uint8), return_tensors="np")["pixel_values"][0]


def softmax(answers_BK: npt.NDArray[Any]) -> Floats:
    """Return probabilities of logits; rows that are probabilities already stay as they are.

    >>> softmax(np.array([[0.25, 0.75]])).tolist(), softmax(np.array([[3.0, 3.0]])).tolist()
    ([[0.25, 0.75]], [[0.5, 0.5]])
    """
    if (answers_BK >= 0).all() and np.allclose(answers_BK.sum(1), 1, atol=1e-3):
        return answers_BK.astype(np.float32)
    powers_BK = np.exp(answers_BK.astype(np.float64) - answers_BK.max(1, keepdims=True))
    return np.asarray(powers_BK / powers_BK.sum(1, keepdims=True), np.float32)


def hashes(*paths: Path) -> dict[str, str]:
    """Return the sha256 of files by their names."""
    return {path.name: sha256(path) for path in sorted(paths)}


def parsed(text: str, what: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        FieldmarkError: it is none.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise FieldmarkError(f"{what} is no JSON object: write it as {EXAMPLE}.")
    return found

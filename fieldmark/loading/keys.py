"""Names for content: equal render keys are equal pixels, and an example's key is the seed of its randomness."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import fingerprint
from fieldmark.core.tables import CORRUPTIONS_VERSION
from fieldmark.loading.render import RENDERER_VERSION

_SCENE = ["bg_source", "crop_x", "crop_y", "crop_side"]
_OBJECT = ["fg_x", "fg_y", "fg_scale", "fg_angle", "fg_flip"]
_OCCLUDER = ["occluder_x", "occluder_y", "occluder_side"]
_ALL = ["fg_source", *_SCENE, *_OBJECT, *_OCCLUDER, "corruption", "seed", "erase", "keep", "masked"]


def render_keys(recipes: pd.DataFrame, index: pd.DataFrame, size: int) -> list[str]:
    """Return a sha256 for each recipe: of the sources' content and of all in the recipe that its pixels depend on.

    Raises:
        FieldmarkError: a recipe names a source that the index lacks.
    """
    content = _content(index)
    rows = zip(*(recipes[name].tolist() for name in _ALL), strict=True)  # tables take longer, of a few rows
    try:
        shown = [_shown(dict(zip(_ALL, row, strict=True)), content) for row in rows]
    except KeyError as missing:
        raise FieldmarkError(
            f"a recipe names a source that the index lacks, {missing}: run dvc repro, so that splits follow data."
        ) from None
    return [fingerprint([RENDERER_VERSION, size, *values]) for values in shown]


def _shown(recipe: dict[str, Any], content: dict[str, str]) -> list[Any]:
    """Return what the pixels of a recipe depend on; None is what ``render`` never looks at.

    Raises:
        KeyError: it names a source that has no content.
    """
    natural = recipe["fg_source"] == recipe["bg_source"]
    told = recipe | {name: content[recipe[name]] for name in ("fg_source", "bg_source")}
    told["corruption"] = _edition(recipe["corruption"])
    if recipe["masked"] and recipe["erase"]:  # nothing is left to see, whatever it was
        return [None] * len(_ALL)
    if natural:
        told |= dict.fromkeys(_OBJECT)
    elif recipe["masked"]:
        told |= dict.fromkeys(_SCENE)
    if not recipe["corruption"]:
        told["seed"] = None
    if recipe["occluder_side"] <= 0:
        told |= dict.fromkeys(_OCCLUDER)
    return [told[name] for name in _ALL]


def _edition(corruption: str) -> str:
    """Return a corruption with its table's version; the first is understood."""
    return f"{corruption} v{CORRUPTIONS_VERSION}" if corruption and CORRUPTIONS_VERSION > 1 else corruption


def _content(index: pd.DataFrame) -> dict[str, str]:
    """Return what identifies each source's pixels; a photo's mask has no hash, so its place stands for it."""
    columns = ("source_id", "role", "sha256", "mask_shard", "mask_offset", "mask_bytes")
    return {
        source: f"{role} {sha256}" + (f"{shard}:{offset}+{size}" if role == "photo" else "")
        for source, role, sha256, shard, offset, size in zip(*(index[name].tolist() for name in columns), strict=True)
    }


def keys(example_ids: Iterable[str]) -> npt.NDArray[np.int64]:
    """Return a number for each example, the same on every machine: the only source of per-example randomness.

    >>> keys(["test-00000", "test-00001"]).tolist()
    [997531174233849487, 371052779068924408]
    """
    return np.array([number(example_id) for example_id in example_ids], dtype=np.int64)


def number(*values: object) -> int:
    """Return a hash of ``values`` in [0, 2^60)."""
    return int(fingerprint(list(values))[:15], 16)

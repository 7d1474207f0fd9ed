"""Names for content: equal render keys are equal pixels, and an example's key is the seed of its randomness."""

from collections.abc import Iterable

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
    shown = recipes[_ALL].astype(object)
    content = _content(index)
    for column in ("fg_source", "bg_source"):
        shown[column] = recipes[column].map(content).astype(object)
    if shown[["fg_source", "bg_source"]].isna().to_numpy().any():
        raise FieldmarkError("a recipe names a source that the index lacks: run dvc repro, so that splits follow data.")
    natural = recipes["fg_source"] == recipes["bg_source"]
    shown.loc[natural, _OBJECT] = None  # None: render never looks at it
    shown.loc[recipes["masked"] & ~natural, _SCENE] = None
    shown["corruption"] = recipes["corruption"].map(_edition)
    shown.loc[recipes["corruption"] == "", "seed"] = None
    shown.loc[recipes["occluder_side"] <= 0, _OCCLUDER] = None
    shown.loc[recipes["masked"] & (recipes["erase"] != ""), :] = None  # nothing is left to see, whatever it was
    return [fingerprint([RENDERER_VERSION, size, *row]) for row in shown.itertuples(index=False, name=None)]


def _edition(corruption: str) -> str:
    """Return a corruption with its table's version; the first is understood."""
    return f"{corruption} v{CORRUPTIONS_VERSION}" if corruption and CORRUPTIONS_VERSION > 1 else corruption


def _content(index: pd.DataFrame) -> dict[str, str]:
    """Return what identifies each source's pixels; a photo's mask has no hash, so its place stands for it."""
    mask = index["mask_shard"] + ":" + index["mask_offset"].astype(str) + "+" + index["mask_bytes"].astype(str)
    content = index["role"] + " " + index["sha256"] + mask.where(index["role"] == "photo", "")
    return dict(zip(index["source_id"], content, strict=True))


def keys(example_ids: Iterable[str]) -> npt.NDArray[np.int64]:
    """Return a number for each example, the same on every machine: the only source of per-example randomness.

    >>> keys(["test-00000", "test-00001"]).tolist()
    [997531174233849487, 371052779068924408]
    """
    return np.array([number(example_id) for example_id in example_ids], dtype=np.int64)


def number(*values: object) -> int:
    """Return a hash of ``values`` in [0, 2^60)."""
    return int(fingerprint(list(values))[:15], 16)

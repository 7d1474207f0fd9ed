"""The store of embedded renders: every image a frozen backbone ever saw of a split, once, found by its render key."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import read_json, write_json


class Features(NamedTuple):
    """Row i of each array belongs to the render whose key is at place i."""

    place: dict[str, int]  # render key -> row
    features_NhwC: npt.NDArray[np.float16]  # memory-mapped
    packed_NHw: npt.NDArray[np.uint8]  # object masks, eight pixels a byte
    facts: dict[str, Any]  # backbone name, options, fingerprint, channels, stride, mean, std

    def rows(self, keys: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the row of each render key.

        Raises:
            FieldmarkError: a render was never embedded.
        """
        unknown = sum(key not in self.place for key in keys)
        if unknown:
            raise FieldmarkError(
                f"{unknown} of {len(keys)} renders were not embedded: name their variant under evaluate.variants and "
                "their view under embed.views in params.yaml, then run dvc repro."
            )
        return np.array([self.place[key] for key in keys], dtype=np.int64)

    def masks(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return the pixel masks (N, H, W) of the visible object."""
        height = self.packed_NHw.shape[1]
        return np.unpackbits(self.packed_NHw[rows], axis=2, count=height).astype(bool)


def create(
    folder: Path, keys: Sequence[str], masks_NHW: npt.NDArray[np.uint8], facts: dict[str, Any]
) -> npt.NDArray[np.float16]:
    """Write all but the features into ``folder`` and return the features' memory map (N, h, w, C), to be filled."""
    tokens = masks_NHW.shape[1] // facts["stride"]
    np.save(folder / "masks.npy", np.packbits(masks_NHW > 127, axis=2))
    write_json(folder / "facts.json", {**facts, "keys": list(keys)})
    shape = (len(keys), tokens, tokens, facts["channels"])
    return np.lib.format.open_memmap(folder / "features.npy", mode="w+", dtype=np.float16, shape=shape)


def load(folder: Path) -> Features:
    """Open a store written by ``create``; the features stay on disk until read."""
    facts = read_json(folder / "facts.json")
    place = {key: row for row, key in enumerate(facts.pop("keys"))}
    features_NhwC = np.load(folder / "features.npy", mmap_mode="r")
    return Features(place, features_NhwC, np.load(folder / "masks.npy"), facts)

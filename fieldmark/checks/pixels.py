"""Facts about the pixels behind an index: each source's first fault, found by decoding it."""

import hashlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from PIL.Image import Image

VISIBLE = 128  # rendering takes a pixel for object from half covered on

#: Fault -> what is expected instead, in the order in which they are looked for.
FAULTS = {
    "missing": "the bytes of every image and mask lie in their shard",
    "altered": "the bytes of every image have the sha256 of the index",
    "undecodable": "every image and mask decodes to its end",
    "resized": "every image has the width and height of the index",
    "maskless": "every cut-out has an alpha channel and every photo a mask",
    "misfit": "every mask has the size of its image",
    "empty": "every mask shows an object",
}


def faults(index: pd.DataFrame, root: Path) -> "pd.Series[str]":
    """Return the first of FAULTS that each row of the INDEX table shows, or ""; shards lie under ``root``."""
    from tqdm import tqdm

    rows = tqdm(index.to_dict("records"), desc="decode sources", unit="image", disable=None, leave=False)
    return pd.Series([_fault(row, root) for row in rows], index=index.index, dtype="str")


def _fault(row: Mapping[Any, Any], root: Path) -> str:
    encoded = _read(root, row, "")
    if encoded is None:
        return "missing"
    if hashlib.sha256(encoded).hexdigest() != row["sha256"]:
        return "altered"
    image = _decode(encoded)
    if image is None:
        return "undecodable"
    if image.size != (row["width"], row["height"]):
        return "resized"
    return _mask_fault(row, root, image) if row["role"] in ("cutout", "photo") else ""


def _mask_fault(row: Mapping[Any, Any], root: Path, image: "Image") -> str:
    """Return what is wrong with the mask: a cut-out's alpha channel, a photo's image of its own."""
    if row["role"] == "cutout":
        mask = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    elif not row["mask_shard"]:
        mask = None
    else:
        encoded = _read(root, row, "mask_")
        if encoded is None:
            return "missing"
        decoded = _decode(encoded)
        if decoded is None:
            return "undecodable"
        mask = decoded.convert("L")
    if mask is None:
        return "maskless"
    if mask.size != image.size:
        return "misfit"
    return "" if np.asarray(mask).max() >= VISIBLE else "empty"


def _read(root: Path, row: Mapping[Any, Any], which: str) -> bytes | None:
    path, size = root / row[f"{which}shard"], row[f"{which}bytes"]
    if not path.is_file() or size < 1 or row[f"{which}offset"] < 0:
        return None
    with path.open("rb") as shard:
        shard.seek(row[f"{which}offset"])
        encoded = shard.read(size)
    return encoded if len(encoded) == size else None


def _decode(encoded: bytes) -> "Image | None":
    """Return the image with all its pixels read, because a truncated one has a whole header."""
    from PIL import Image

    try:
        with Image.open(BytesIO(encoded)) as image:
            image.load()
            return image
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError):  # of bytes that are no whole image
        return None

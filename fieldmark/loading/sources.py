"""Source images, read by offset out of their shards and decoded; the most recent stay in memory."""

from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.errors import FieldmarkError

Pixels = npt.NDArray[np.uint8]


class Sources:
    """Decodes the images of an index; keeps up to ``memory`` bytes of pixels, the most recently used ones.

    Nothing is verified here: ``pull`` checked the bytes against their hashes and ``validate`` decoded each image.
    """

    def __init__(self, root: Path, index: pd.DataFrame, *, memory: int = 512 * 2**20) -> None:
        self.root, self.index, self.memory = root, index, memory
        self._rows: dict[str, dict[str, Any]] = index.set_index("source_id").to_dict("index")  # type: ignore[assignment]  # keys are str columns
        self._recent: OrderedDict[tuple[str, str], Pixels] = OrderedDict()

    def colours(self, source_id: str) -> Pixels:
        """Return the whole image (H, W, 3), without its alpha channel."""
        return self._recall("colours", source_id, lambda row: self._decode(row, "", "RGB"))

    def mask(self, source_id: str) -> Pixels:
        """Return a photo's object mask (H, W): 255 on the object."""
        return self._recall("mask", source_id, lambda row: self._decode(row, "mask_", "L"))

    def cutout(self, source_id: str) -> Pixels:
        """Return the object alone (H, W, 4): premultiplied RGB and alpha.

        A cut-out is trimmed to its object. A photo is its centred square with the mask as alpha, untrimmed, so that at
        scale 1 in the middle of the frame the object stays at its place.
        """
        return self._recall("cutout", source_id, self._cut)

    def has_mask(self, source_id: str) -> bool:
        """Tell whether the image holds an object of its own, with a mask beside it."""
        return bool(self._row(source_id)["mask_shard"])

    def _cut(self, row: dict[str, Any]) -> Pixels:
        if row["role"] == "cutout":
            return trim(premultiply(self._decode(row, "", "RGBA")))
        alpha_HW1 = self._decode(row, "mask_", "L")[..., None]
        return premultiply(np.concatenate([centred_square(self._decode(row, "", "RGB")), centred_square(alpha_HW1)], 2))

    def _decode(self, row: dict[str, Any], which: str, mode: str) -> Pixels:
        from PIL import Image

        with (self.root / row[which + "shard"]).open("rb") as shard:
            shard.seek(row[which + "offset"])
            encoded = shard.read(row[which + "bytes"])
        with Image.open(BytesIO(encoded)) as image:
            return np.asarray(image.convert(mode))

    def _recall(self, kind: str, source_id: str, make: Callable[[dict[str, Any]], Pixels]) -> Pixels:
        key = (kind, source_id)
        if key not in self._recent:
            self._recent[key] = make(self._row(source_id))
            while len(self._recent) > 1 and sum(pixels.nbytes for pixels in self._recent.values()) > self.memory:
                self._recent.popitem(last=False)
        self._recent.move_to_end(key)
        return self._recent[key]

    def _row(self, source_id: str) -> dict[str, Any]:
        if source_id not in self._rows:
            raise FieldmarkError(f"a recipe names the source '{source_id}', which the index lacks: run dvc repro.")
        return self._rows[source_id]


def premultiply(image_HW4: Pixels) -> Pixels:
    """Multiply colour by alpha, so that resampling does not drag the colour of invisible pixels over the edge.

    >>> premultiply(np.array([[[200, 100, 0, 51]]], np.uint8)).tolist()
    [[[40, 20, 0, 51]]]
    """
    alpha_HW1 = image_HW4[..., 3:]
    colour_HW3 = (image_HW4[..., :3].astype(np.uint16) * alpha_HW1 + 127) // 255
    return np.concatenate([colour_HW3.astype(np.uint8), alpha_HW1], axis=2)


def trim(image_HW4: Pixels) -> Pixels:
    """Cut away the rows and columns in which nothing is visible."""
    visible_HW = image_HW4[..., 3] > 0
    rows, columns = np.flatnonzero(visible_HW.any(1)), np.flatnonzero(visible_HW.any(0))
    return np.ascontiguousarray(image_HW4[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def centred_square(image_HWC: Pixels) -> Pixels:
    """Return the largest square in the middle of an image; photos are framed by it.

    >>> centred_square(np.zeros((4, 7, 3), np.uint8)).shape
    (4, 4, 3)
    """
    height, width = image_HWC.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image_HWC[top : top + side, left : left + side]

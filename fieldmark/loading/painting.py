"""Taking something out of a picture: the object, or what a mask does not keep."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fieldmark.loading.sources import Pixels

GREY = 128
Bits = npt.NDArray[np.bool_]


def erase(image_HW3: Pixels, object_HW: Bits, how: str) -> Pixels:
    """Take the object out, as the backgrounds challenge does (arXiv 2006.09994, section 2).

    Args:
        image_HW3: The picture; not changed.
        object_HW: Every pixel the object touches.
        how: ``object``: its silhouette becomes black; ``box``: its bounding box; ``tile``: its bounding box is tiled
            over with the largest strip of background beside it (black if the box fills the frame).
    """
    erased = image_HW3.copy()
    if how == "object" or not object_HW.any():
        erased[object_HW] = 0
        return erased
    rows, columns = np.flatnonzero(object_HW.any(1)), np.flatnonzero(object_HW.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    erased[box] = 0
    if how == "tile":
        strips = [
            image_HW3[: box[0].start],
            image_HW3[box[0].stop :],
            image_HW3[:, : box[1].start],
            image_HW3[:, box[1].stop :],
        ]
        strip = max(strips, key=lambda part: part.size)
        if strip.size:
            height, width = erased[box].shape[:2]
            erased[box] = _tiled(strip, height, width)
    return erased


def _tiled(strip: Pixels, height: int, width: int) -> Pixels:
    """Repeat a strip of background until it covers ``height`` by ``width``."""
    down, across = -(-height // strip.shape[0]), -(-width // strip.shape[1])
    return np.tile(strip, (down, across, 1))[:height, :width]


def kept_pixels(grid: Sequence[int], bits: bytes, frame: Sequence[float], size: int) -> Bits:
    """Return which pixels (size, size) lie in kept tokens.

    Args:
        grid: height and width of the token mask.
        bits: the mask, packed eight to a byte.
        frame: left, top and side of the square that the mask covers, as fractions of this picture; beyond its edge the
            mask goes on as it is there.
        size: px.

    >>> kept_pixels([1, 2], bytes([0b01000000]), [0.0, 0.0, 1.0], 4)[0].tolist()
    [False, False, True, True]
    """
    height, width = grid
    keep_hw = np.unpackbits(np.frombuffer(bits, np.uint8), count=height * width).reshape(height, width).astype(bool)
    left, top, side = frame
    middles = (np.arange(size) + 0.5) / size
    rows, columns = (
        np.floor((middles - start) / side * count).astype(int) for start, count in ((top, height), (left, width))
    )
    return np.asarray(keep_hw[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)])


def paint_over(image_HW3: Pixels, hidden_HW: Bits, fill: str) -> Pixels:
    """Return the image with its hidden pixels black, grey, or blurred until no detail is left."""
    import cv2

    painted = np.full_like(image_HW3, GREY if fill == "grey" else 0)
    if fill == "blur":
        painted = np.asarray(cv2.GaussianBlur(image_HW3, (0, 0), image_HW3.shape[0] / 8), np.uint8)
    return np.where(hidden_HW[..., None], painted, image_HW3)

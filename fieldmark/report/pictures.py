"""Thumbnails for the page: what the camera saw, and what the mask let through."""

import base64
import io
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_FLOOR = 0.12  # brightness of what has no weight at all: dark, yet one sees what was ignored


class Picture(NamedTuple):
    """One decision of one model."""

    model: str
    image_HW3: npt.NDArray[np.uint8]
    mask_hw: npt.NDArray[np.floating]  # weight of each token in the decision
    label: str
    background: str
    predicted: str
    probability: float  # of the class predicted

    @property
    def right(self) -> bool:
        """Whether the decision is right."""
        return self.predicted == self.label


def photo(picture: Picture) -> str:
    """Return the picture as a data URI."""
    return _uri(picture.image_HW3)


def seen(picture: Picture) -> str:
    """Return the picture, each token as bright as its weight relative to the largest, as a data URI."""
    return _uri(dimmed(picture.image_HW3, picture.mask_hw))


def dimmed(image_HW3: npt.NDArray[np.uint8], mask_hw: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Return the picture with its tokens dimmed by weight; a mask that is the same everywhere dims nothing.

    >>> dimmed(np.full((1, 2, 3), 100, np.uint8), np.array([[0.5, 0.0]]))[0, :, 0]
    array([100,  12], dtype=uint8)
    """
    (H, W, _), (h, w) = image_HW3.shape, mask_hw.shape
    top = mask_hw.max()
    relative_hw = mask_hw / top if top > 0 else np.zeros_like(mask_hw)
    relative_HW = relative_hw[np.arange(H) * h // H][:, np.arange(W) * w // W]
    bright_HW = _FLOOR + (1 - _FLOOR) * relative_HW
    return np.asarray((image_HW3 * bright_HW[..., None]).round(), np.uint8)


def _uri(image_HW3: npt.NDArray[np.uint8], side: int = 160) -> str:
    from PIL import Image

    picture = Image.fromarray(image_HW3)
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=80, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()

"""Thumbnails for the page: what the camera saw, and what the mask let through."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
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


def sheet(path: Path, pictures: Sequence[Picture], columns: int = 4) -> Path:
    """Write all pictures as one PNG, wrong decisions first: what the camera saw above what the model saw; return it."""
    from PIL import Image, ImageDraw

    side, band = 160, 26
    height = 2 * side + band
    page = Image.new("RGB", (side * columns, height * max(-(-len(pictures) // columns), 1)), "white")
    draw = ImageDraw.Draw(page)
    for place, picture in enumerate(sorted(pictures, key=lambda one: one.right)):
        left, top = place % columns * side, place // columns * height
        for row, image_HW3 in enumerate((picture.image_HW3, dimmed(picture.image_HW3, picture.mask_hw))):
            page.paste(Image.fromarray(image_HW3).resize((side - 4, side - 4)), (left, top + band + row * side))
        said = "right" if picture.right else "wrong"
        draw.text((left + 2, top + 1), f"{said}: {picture.predicted} {picture.probability:.2f}", fill="black")
        draw.text((left + 2, top + 12), f"is {picture.label} on {picture.background}", fill="black")
    page.save(path)
    return path


def _uri(image_HW3: npt.NDArray[np.uint8], side: int = 160) -> str:
    from PIL import Image

    picture = Image.fromarray(image_HW3)
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=80, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()

"""Thumbnails for the page: what the camera saw, and what the mask let through."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

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
    on_object: float = float("nan")  # share of the mask's weight that lies on the object; NaN = unknown

    @property
    def right(self) -> bool:
        """Whether the decision is right."""
        return self.predicted == self.label


class Failures(NamedTuple):
    """A model's mistakes on the test part of one seed."""

    examples: int
    mistakes: int
    probability: float  # mean, of the wrong answers; NaN where there are none
    surest: Sequence[Picture]


def photo(picture: Picture) -> str:
    """Return the picture as a data URI."""
    return uri(picture.image_HW3)


def small(picture: Picture) -> str:
    """Return the picture as a data URI, where many stand in a row."""
    return uri(picture.image_HW3, 96)


def seen(picture: Picture) -> str:
    """Return the picture, each token as bright as its weight relative to the largest, as a data URI."""
    return uri(dimmed(picture.image_HW3, picture.mask_hw))


def weights(picture: Picture) -> str:
    """Return the mask alone, a dot for each token: white is its largest weight, black none; as a data URI."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray((255 * _relative(picture.mask_hw)).round().astype(np.uint8)).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def dimmed(image_HW3: npt.NDArray[np.uint8], mask_hw: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Return the picture with its tokens dimmed by weight; a mask that is the same everywhere dims nothing.

    >>> dimmed(np.full((1, 2, 3), 100, np.uint8), np.array([[0.5, 0.0]]))[0, :, 0]
    array([100,  12], dtype=uint8)
    """
    (H, W, _), (h, w) = image_HW3.shape, mask_hw.shape
    relative_HW = _relative(mask_hw)[np.arange(H) * h // H][:, np.arange(W) * w // W]
    bright_HW = _FLOOR + (1 - _FLOOR) * relative_HW
    return np.asarray((image_HW3 * bright_HW[..., None]).round(), np.uint8)


def _relative(mask_hw: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return weights relative to the largest; none where all are 0."""
    top = mask_hw.max()
    return mask_hw / top if top > 0 else np.zeros_like(mask_hw)


def spread(told: pd.DataFrame, count: int) -> list[int]:
    """Return ``count`` rows from the least of the mask on the object to the most, evenly; of each object the surest.

    A second picture of an object comes only where objects run out.

    >>> told = pd.DataFrame({"object": list("aabc"), "probability": [0.9, 0.8, 0.7, 0.6], "example_id": list("wxyz")})
    >>> spread(told.assign(on_object=[0.5, 0.1, 0.3, 0.2]), 2)
    [3, 0]
    """
    sure = told.sort_values(["probability", "example_id"], ascending=[False, True])
    again = sure.assign(again=sure.groupby("object").cumcount()).sort_values("again", kind="stable")
    objects = max(told["object"].nunique(), count)
    ordered = again.head(objects).sort_values(["on_object", "example_id"])
    places = np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)
    return [int(row) for row in ordered.index[places]]


def surest(told: pd.DataFrame, count: int) -> list[int]:
    """Return ``count`` rows from the surest down, each of another object.

    >>> told = pd.DataFrame({"object": list("aab"), "probability": [0.8, 0.9, 0.7], "example_id": list("wxy")})
    >>> surest(told, 3)
    [1, 2]
    """
    ranked = told.sort_values(["probability", "example_id"], ascending=[False, True])
    return [int(row) for row in ranked.index[~ranked["object"].duplicated()][:count]]


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


def uri(image_HW3: npt.NDArray[np.uint8], side: int = 128) -> str:
    """Return a picture, no larger than ``side``, as a data URI."""
    from PIL import Image

    picture = Image.fromarray(image_HW3)
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=80, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()

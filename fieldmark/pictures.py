"""Pictures of a user's: read from files, framed as in training, seen nearer, and painted with where a model looked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Fill
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import writable

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Weights = npt.NDArray[np.floating[Any]] | npt.NDArray[np.bool_]


def read_image(path: Path) -> Pixels:
    """Read a picture file as (H, W, 3).

    Raises:
        FieldmarkError: no such file, not a picture, or one of more than 8 bits.
    """
    return _read(path, "RGB")


def read_mask(path: Path) -> Floats:
    """Read a picture file as weights (H, W) in [0, 1]: white is 1, black is 0.

    Raises:
        FieldmarkError: no such file, not a picture, or one of more than 8 bits.
    """
    return _read(path, "L").astype(np.float32) / np.float32(255)


def _read(path: Path, mode: str) -> Pixels:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":  # Pillow would cut all above 255 off
                raise FieldmarkError(f"{path} has more than 8 bits a pixel's grey: save it with 8.")
            return np.asarray(ImageOps.exif_transpose(image).convert(mode))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise FieldmarkError(f"{path} can't be read as a picture ({error}): give a PNG or JPEG file.") from error


def middle(height: int, width: int) -> tuple[int, int, int]:
    """Return top, left and side of the largest centred square: what a model sees of a picture.

    >>> middle(4, 7)
    (0, 1, 4)
    """
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side


def frame(image_HW3: Pixels, size: int) -> Pixels:
    """Return what a model sees of an image: the largest centred square, resized as in training.

    Raises:
        FieldmarkError: not (H, W, 3) of uint8.
    """
    return nearer(image_HW3, (0.5, 0.5, 1.0), size)


def nearer(image_HW3: Pixels, box: tuple[float, float, float], size: int) -> Pixels:
    """Return a square of the frame at the picture's full resolution, rounded as training rounds a crop of a scene.

    Args:
        image_HW3: the whole picture.
        box: centre x, centre y and side, as fractions of the frame.
        size: px, side of what is returned.

    Raises:
        FieldmarkError: not (H, W, 3) of uint8.
    """
    from fieldmark.loading.render import resize

    if image_HW3.ndim != 3 or image_HW3.shape[2] != 3 or image_HW3.dtype != np.uint8:
        raise FieldmarkError(
            f"an image must be (H, W, 3) of uint8, this is {image_HW3.shape} of {image_HW3.dtype}: convert it to RGB."
        )
    top, left, whole = middle(*image_HW3.shape[:2])
    x, y, fraction = box
    side = max(1, round(whole * fraction))
    row, column = (
        min(round(first + whole * (centre - fraction / 2)), first + whole - side)  # rounding may not leave the frame
        for first, centre in ((top, y), (left, x))
    )
    return resize(image_HW3[row : row + side, column : column + side], size)


def hidden(crop_HW3: Pixels, box: tuple[float, float, float], keep_hw: npt.NDArray[np.bool_], fill: Fill) -> Pixels:
    """Paint over what of a crop lies in tokens of the frame that are not kept, as training does.

    Args:
        crop_HW3: what ``nearer`` gave for ``box``.
        box: centre x, centre y and side, as fractions of the frame.
        keep_hw: the frame's tokens that stay.
        fill: ``black``, ``grey`` or ``blur``.
    """
    from fieldmark.loading.painting import kept_pixels, paint_over

    x, y, side = box
    whole = (side / 2 - x) / side, (side / 2 - y) / side, 1 / side  # the frame, as the crop sees it
    kept_HW = kept_pixels(keep_hw.shape, np.packbits(keep_hw).tobytes(), whole, crop_HW3.shape[0])
    return paint_over(crop_HW3, ~kept_HW, fill)


def token_weights(keep_HW: Weights, image_HW3: Pixels, grid: tuple[int, int]) -> Floats:
    """Return the mean weight of each token of the frame, (h, w).

    Args:
        keep_HW: weights in [0, 1]: of the whole picture, pixel by pixel, or a square of any side over the frame.
        image_HW3: the picture.
        grid: h and w.

    Raises:
        FieldmarkError: a weight outside [0, 1], or a shape that does not lie on the picture.

    >>> keep = np.array([[9.0, 1.0, 0.0, 9.0], [9.0, 1.0, 1.0, 9.0]]) % 9  # the frame is the middle 2 x 2
    >>> token_weights(keep, np.zeros((2, 4, 3), np.uint8), (2, 1)).tolist()
    [[0.5], [1.0]]
    """
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    shape = keep_HW.shape
    if len(shape) != 2 or (shape != image_HW3.shape[:2] and shape[0] != shape[1]):
        raise FieldmarkError(
            f"a mask is {' x '.join(map(str, shape))} and its image {image_HW3.shape[0]} x {image_HW3.shape[1]}: "
            "give a mask of the image's height and width, or a square one for the square that the model sees."
        )
    weights_HW = keep_HW.astype(np.float32)
    if not ((weights_HW >= 0) & (weights_HW <= 1)).all():  # also where a weight is NaN
        raise FieldmarkError("a mask has weights outside 0 (hide) to 1 (keep): scale it.")
    top, left, side = middle(*shape)
    square_1HW = torch.from_numpy(weights_HW[top : top + side, left : left + side])[None]
    return np.asarray(adaptive_avg_pool2d(square_1HW, grid)[0].numpy())


def overlay(image_HW3: Pixels, mask_hw: Floats, size: int = 320) -> Image:
    """Return the framed image, darkened where the model gave a token less weight."""
    from PIL import Image

    weight = Image.fromarray((mask_hw * 255).round().astype(np.uint8)).resize((size, size), Image.Resampling.NEAREST)
    seen = Image.fromarray(frame(image_HW3, size))
    return Image.composite(seen, seen.point(lambda value: value // 4), weight)


def write_overlays(files: Sequence[Path], images: Sequence[Pixels], masks_Nhw: Floats) -> None:
    """Write the overlay of each image to its file."""
    for file, image, mask_hw in zip(files, images, masks_Nhw, strict=True):
        overlay(image, mask_hw).save(file)


def overlay_files(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """Return where the overlays of pictures go, in a folder that is made if need be.

    Raises:
        FieldmarkError: they can't be written there, or one would replace a picture it is made of.
    """
    files = [writable(folder) / f"{name}.png" for name in _names(paths)]
    if lost := {file.resolve() for file in files} & {path.resolve() for path in paths}:
        raise FieldmarkError(f"the overlays in {folder} would replace {min(lost)}: name another folder.")
    return files


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each path; no two are the same.

    >>> _names([Path("a/duck.png"), Path("b/duck.jpg"), Path("hare.png")])
    ['duck', 'duck-2', 'hare']
    """
    names: list[str] = []
    for path in paths:
        numbered = (f"{path.stem}-{number}" for number in count(2))
        names.append(next(name for name in chain([path.stem], numbered) if name not in names))
    return names

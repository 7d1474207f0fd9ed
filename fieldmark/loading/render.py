"""A recipe becomes pixels: ``render(recipe) -> image, mask``. Equal recipes give equal bytes.

Order: scene crop, object, erasure, occluder, corruption, what is kept, and last of all the mask on the pixels.
"""

import json
from typing import Any, NamedTuple

import numpy as np

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.tables import DROPS, REGION_NOISE
from fieldmark.loading.augment import corrupt
from fieldmark.loading.painting import GREY, Bits, erase, kept_pixels, paint_over
from fieldmark.loading.regions import lost_patches, lost_pixels, noisy
from fieldmark.loading.sources import Pixels, Sources

Recipe = Any  # a row of RECIPE, as ``DataFrame.itertuples`` gives it

RENDERER_VERSION = 1  # goes into every render key: raise it whenever the same recipe would give other pixels
VISIBLE = 128  # alpha from which a pixel counts as object: half covered


class Rendered(NamedTuple):
    """One example's pixels."""

    image_HW3: Pixels
    mask_HW: Pixels  # 255 where the object is seen: not where it was erased or lies behind an occluder


def render(recipe: Recipe, sources: Sources, size: int) -> Rendered:
    """Render one recipe at ``size`` by ``size`` pixels.

    A masked recipe is rendered on black from the start, so its pixels never depend on the background. Of a photo in its
    own place (``fg_source == bg_source``) only the crop is read; the object's geometry is that of the photo.

    Raises:
        FieldmarkError: a source is not in the index, or a corruption is unknown.
    """
    image_HW3, alpha_HW = _photo(recipe, sources, size) if _natural(recipe) else _composite(recipe, sources, size)
    visible_HW = alpha_HW >= VISIBLE
    if recipe.erase:
        image_HW3 = erase(image_HW3, alpha_HW > 0, recipe.erase)  # also the faint edge: no pixel of the object remains
        visible_HW = np.zeros_like(visible_HW)
    if recipe.occluder_side > 0:
        covered = _square(recipe.occluder_x, recipe.occluder_y, recipe.occluder_side, size)
        image_HW3[covered] = GREY
        visible_HW[covered] = False
    if recipe.corruption:
        image_HW3, visible_HW = _corrupted(recipe, image_HW3, visible_HW, sources, size)
    if recipe.keep:
        said = json.loads(recipe.keep)
        kept_HW = kept_pixels(said["grid"], bytes.fromhex(said["bits"]), said["frame"], size)
        image_HW3 = paint_over(image_HW3, ~kept_HW, said["fill"])
        visible_HW = visible_HW & kept_HW
    if recipe.masked:
        image_HW3 = image_HW3 * visible_HW[..., None]
    return Rendered(image_HW3, visible_HW.astype(np.uint8) * 255)


def _corrupted(recipe: Recipe, image_HW3: Pixels, visible_HW: Bits, sources: Sources, size: int) -> tuple[Pixels, Bits]:
    """Do what the recipe's corruption asks for; return the image and what is still seen of the object."""
    name, _, told = recipe.corruption.partition("|")
    family, _, strength = name.partition(":")
    if family in REGION_NOISE:
        region_HW = visible_HW if family == "noise_object" else ~visible_HW
        return noisy(image_HW3, region_HW, float(strength), recipe.seed), visible_HW
    if family not in DROPS:
        return corrupt(image_HW3, name, recipe.seed), visible_HW
    frame, object_HW = [0.0, 0.0, 1.0], visible_HW
    if told:  # a nearer look at a picture: it says which picture, and the same patches are lost as there
        said = json.loads(told)
        whole = recipe._replace(**said["whole"], corruption="", keep="", masked=True)
        frame, object_HW = said["frame"], render(whole, sources, size).mask_HW > 0
    lost_HW = lost_pixels(lost_patches(family, float(strength), object_HW, recipe.seed), frame, size)
    return paint_over(image_HW3, lost_HW, "black"), visible_HW & ~lost_HW


def _natural(recipe: Recipe) -> bool:
    return bool(recipe.fg_source == recipe.bg_source)


def _photo(recipe: Recipe, sources: Sources, size: int) -> tuple[Pixels, Pixels]:
    """Return a photo's crop, and the same crop of its own object's mask."""
    image_HW3 = resize(_crop(sources.colours(recipe.bg_source), recipe), size)
    return image_HW3, resize(_crop(sources.mask(recipe.bg_source), recipe), size)


def _composite(recipe: Recipe, sources: Sources, size: int) -> tuple[Pixels, Pixels]:
    """Return the object on its scene, and the object's alpha."""
    scene_HW3 = np.zeros((size, size, 3), np.uint8) if recipe.masked else _scene(recipe, sources, size)
    object_HW4 = place(sources.cutout(recipe.fg_source), recipe, size)
    alpha_HW = object_HW4[..., 3]
    through_HW1 = 255 - alpha_HW[..., None].astype(np.uint16)  # what of the scene shows through (over operator)
    image_HW3 = object_HW4[..., :3] + (scene_HW3 * through_HW1 + 127) // 255
    return np.minimum(image_HW3, 255).astype(np.uint8), alpha_HW


def _scene(recipe: Recipe, sources: Sources, size: int) -> Pixels:
    """Return the background alone: a photo lends it without its own object."""
    if not sources.has_mask(recipe.bg_source):
        return resize(_crop(sources.colours(recipe.bg_source), recipe), size)
    photo_HW3, alpha_HW = _photo(recipe, sources, size)
    return erase(photo_HW3, alpha_HW > 0, "tile")


def _crop(image: Pixels, recipe: Recipe) -> Pixels:
    top, left, side = recipe.crop_y, recipe.crop_x, recipe.crop_side
    crop = image[top : top + side, left : left + side]
    if side < 1 or top < 0 or left < 0 or crop.shape[:2] != (side, side):
        raise FieldmarkError(
            f"the crop of example '{recipe.example_id}' leaves its scene '{recipe.bg_source}': run dvc repro."
        )
    return crop


def resize(image: Pixels, height: int, width: int | None = None) -> Pixels:
    """Resample an image (H, W) or (H, W, C), to a square by default: by area where it shrinks, else bilinear."""
    import cv2

    width = height if width is None else width
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=method), np.uint8)


def place(object_HW4: Pixels, recipe: Recipe, size: int) -> Pixels:
    """Put a premultiplied object into an empty frame: scaled, mirrored, turned, moved. Returns (size, size, 4)."""
    import cv2

    height, width = object_HW4.shape[:2]
    factor = recipe.fg_scale * size / max(height, width)
    height, width = max(1, round(height * factor)), max(1, round(width * factor))
    scaled = resize(object_HW4, height, width)
    scaled = scaled[:, ::-1] if recipe.fg_flip else scaled
    middle = (
        (width - 1) / 2,
        (height - 1) / 2,
    )  # pixel i has its centre at i, and the frame reaches from -0.5 to size - 0.5
    turn_and_move = cv2.getRotationMatrix2D(middle, recipe.fg_angle, 1.0)
    turn_and_move[:, 2] += recipe.fg_x * size - 0.5 - middle[0], recipe.fg_y * size - 0.5 - middle[1]
    warped = cv2.warpAffine(np.ascontiguousarray(scaled), turn_and_move, (size, size), flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.uint8)


def _square(x: float, y: float, side: float, size: int) -> tuple[slice, slice]:
    """Return the pixels of a square given in fractions of the frame, clipped to it."""
    edges = [round((centre + half) * size) for centre in (y, x) for half in (-side / 2, side / 2)]
    top, bottom, left, right = np.clip(edges, 0, size).tolist()
    return slice(top, bottom), slice(left, right)

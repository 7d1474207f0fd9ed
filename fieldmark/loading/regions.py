"""What the true mask decides: which patches of a picture are lost, and where noise lies."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fieldmark.loading.painting import kept_pixels
from fieldmark.loading.sources import Pixels

Bits = npt.NDArray[np.bool_]
PATCHES = 14  # a picture is 14 x 14 patches, whatever its size


def lost_patches(how: str, share: float, object_HW: Bits, seed: int) -> Bits:
    """Return which patches (14, 14) are lost: PatchDrop (arXiv 2105.10497) with the true mask in place of saliency.

    Patches go in a random order: all alike (``drop_random``), those that the object touches first (``drop_object``), or
    those it does not touch (``drop_background``). With the same seed, what a smaller share loses a larger one does too.

    Args:
        how: one of DROPS.
        share: of all patches, in [0, 1], to the nearest whole patch.
        object_HW: where the object is seen.
        seed: of the order.

    >>> corner = np.zeros((28, 28), bool)
    >>> corner[0, 0] = True
    >>> np.argwhere(lost_patches("drop_object", 1 / 196, corner, 0)).tolist()
    [[0, 0]]
    >>> bool(lost_patches("drop_background", 195 / 196, corner, 0)[0, 0])
    False
    """
    place = ((np.arange(len(object_HW)) + 0.5) * PATCHES / len(object_HW)).astype(int)
    rows, columns = np.nonzero(object_HW)
    touched = np.zeros((PATCHES, PATCHES), bool)
    touched[place[rows], place[columns]] = True
    last = {"drop_random": np.zeros_like(touched), "drop_object": ~touched, "drop_background": touched}[how]
    order = np.lexsort((np.random.default_rng(seed).random(last.size), last.ravel()))
    lost = np.zeros(last.size, bool)
    lost[order[: round(share * last.size)]] = True
    return lost.reshape(last.shape)


def lost_pixels(lost: Bits, frame: Sequence[float], size: int) -> Bits:
    """Return which pixels (size, size) lie in lost patches of a picture whose frame is left, top, side of this one."""
    return kept_pixels(lost.shape, np.packbits(lost).tobytes(), frame, size)


def noisy(image_HW3: Pixels, region_HW: Bits, sigma: float, seed: int) -> Pixels:
    """Return the image with Gaussian noise in a region, after arXiv 2201.10766.

    Whatever the region's area, the noise has the L2 length that noise of standard deviation ``sigma`` has over the
    whole picture, so area does not confound object with background; what leaves the range of values is then cut off.
    The paper's lengths of 30 to 180 at 224 px are sigmas of 0.08 to 0.46. An empty region leaves the image as it is.

    Args:
        image_HW3: pixels in 0..255; not changed.
        region_HW: where the noise lies.
        sigma: as a fraction of the range of values.
        seed: of the noise.
    """
    noise_HW3 = np.random.default_rng(seed).normal(size=image_HW3.shape) * region_HW[..., None]
    length = np.sqrt(np.square(noise_HW3).sum())
    scale = 255 * sigma * np.sqrt(noise_HW3.size) / length if length else 0.0
    return np.asarray(np.rint(image_HW3 + scale * noise_HW3).clip(0, 255), np.uint8)

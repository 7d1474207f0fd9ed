"""Overlap with the object when the map itself says where it ends: Otsu's threshold.

The cut that leaves the largest variance between the two sides (doi 10.1109/TSMC.1979.4310076). Unlike the top-area rule
it isn't told how large the object is.
"""

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, mean_known, object_pixels, one_cell, token_pixels

HIGHER_IS_BETTER = True
MEANING = (
    "Overlap of the object with what lies above the map's own threshold (Otsu's): intersection over union, Dice"
    " coefficient, share of it that is object (precision) and share of the object it holds (recall)."
)


def score(
    map_Bhw: FloatArray,
    object_BHW: npt.NDArray[np.generic],
) -> dict[str, Score]:
    """Return ``mask_iou_otsu``, ``mask_dice_otsu``, ``mask_precision_otsu`` and ``mask_recall_otsu`` in [0, 1].

    NaN for an example without object pixels. A map that is the same everywhere has no threshold and keeps the whole
    picture: that is the chance level of all but the recall, whose chance is the share that is kept, wherever it lies.
    """
    (h, w), (H, W) = map_Bhw.shape[1:], object_BHW.shape[1:]
    object_Bn = object_pixels(object_BHW, h, w).reshape(len(map_Bhw), -1)
    pixels_n, area_B = token_pixels(H, W, h, w).ravel(), object_Bn.sum(1)
    area_B = np.where(area_B > 0, area_B, np.nan)
    kept_Bn = np.stack([above(map_n, pixels_n) for map_n in map_Bhw.reshape(object_Bn.shape)])
    overlap_B, size_B, frame = (kept_Bn * object_Bn).sum(1), kept_Bn @ pixels_n, H * W
    return {
        "mask_iou_otsu": one_cell(overlap_B / (size_B + area_B - overlap_B), mean_known(area_B / frame)),
        "mask_dice_otsu": one_cell(2 * overlap_B / (size_B + area_B), mean_known(2 * area_B / (frame + area_B))),
        "mask_precision_otsu": one_cell(np.where(area_B > 0, overlap_B / size_B, np.nan), mean_known(area_B / frame)),
        "mask_recall_otsu": one_cell(overlap_B / area_B, mean_known(np.where(area_B > 0, size_B / frame, np.nan))),
    }


def above(map_n: FloatArray, pixels_n: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which tokens lie above Otsu's threshold, of all cuts between unequal weights; all if there is none.

    >>> above(np.array([0.1, 0.9, 0.2, 0.8]), np.ones(4)).tolist()
    [False, True, False, True]
    """
    order = np.argsort(map_n, kind="stable")
    value_n, size_n = map_n[order], pixels_n[order]
    low_n, sum_n = np.cumsum(size_n)[:-1], np.cumsum(size_n * value_n)[:-1]
    high_n, rest_n = size_n.sum() - low_n, (size_n * value_n).sum() - sum_n
    between_n = np.where(np.diff(value_n) > 0, low_n * high_n * (sum_n / low_n - rest_n / high_n) ** 2, -1.0)
    if not len(between_n) or between_n.max() < 0:
        return np.ones(len(map_n), bool)
    return np.asarray(map_n > value_n[between_n.argmax()])

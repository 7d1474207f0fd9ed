"""Energy-based pointing game: how much of the mask lies on the object (arXiv 1910.01279, section 4.3)."""

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, mean_known, object_pixels, one_cell, token_pixels

HIGHER_IS_BETTER = True
MEANING = (
    "Share of the mask's weight that lies on the object; a mask that is the same everywhere scores the object's area."
)


def score(
    map_Bhw: FloatArray,
    object_BHW: npt.NDArray[np.generic],
) -> dict[str, Score]:
    """Return ``energy_pointing`` in [0, 1]; NaN for an example without object, or with a mask that is 0 everywhere.

    Weights must not be negative. Chance is the object's share of the picture.
    """
    (h, w), (H, W) = map_Bhw.shape[1:], object_BHW.shape[1:]
    object_Bhw, pixels_hw = object_pixels(object_BHW, h, w), token_pixels(H, W, h, w)
    on_object_B, all_B = (map_Bhw * object_Bhw).sum((1, 2)), (map_Bhw * pixels_hw).sum((1, 2))
    area_B = object_Bhw.sum((1, 2)) / (H * W)
    known_B = (area_B > 0) & (all_B > 0)
    share_B = np.divide(on_object_B, all_B, out=np.full(len(all_B), np.nan), where=known_B)
    return {"energy_pointing": one_cell(share_B, chance=mean_known(np.where(area_B > 0, area_B, np.nan)))}

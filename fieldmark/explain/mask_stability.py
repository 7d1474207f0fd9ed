"""Does the map stay on the object when the background is another one?

The map of each picture is compared with that of the same object, in the same place, on another background.
"""

from collections.abc import Callable

import numpy as np

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, mean_known, one_cell

HIGHER_IS_BETTER = None  # a map that is the same everywhere, whatever is seen, is the steadiest
MEANING = (
    "Likeness of a picture's map to that of the same object on another background, as overlap (sum of the lower weights"
    " over that of the higher ones) and as cosine; chance is the likeness to another picture's map."
)


def score(
    map_Bhw: FloatArray,
    *,
    varied_map: Callable[[str], FloatArray],
    variant: str = "mixed_rand",
) -> dict[str, Score]:
    """Return ``mask_stability_iou`` and ``mask_stability_cosine`` in [0, 1]; NaN where one of the maps is all zeros.

    Args:
        map_Bhw: maps of the pictures as they are, not negative.
        varied_map: name of a variant -> the maps (B, h, w) of the same examples in it.
        variant: one that moves no object.
    """
    before_Bn, after_Bn = (one_Bhw.reshape(len(map_Bhw), -1) for one_Bhw in (map_Bhw, varied_map(variant)))
    return {
        f"mask_stability_{name}": one_cell(alike(before_Bn, after_Bn), others(alike, before_Bn, after_Bn))
        for name, alike in {"iou": overlap, "cosine": cosine}.items()
    }


def overlap(a_Bn: FloatArray, b_Bn: FloatArray) -> FloatArray:
    """Return (B,) the intersection over union of weights.

    >>> overlap(np.array([[1.0, 0.5, 0.0]]), np.array([[1.0, 0.0, 0.5]]))
    array([0.5])
    """
    return _ratio(np.minimum(a_Bn, b_Bn).sum(-1), np.maximum(a_Bn, b_Bn).sum(-1), a_Bn, b_Bn)


def cosine(a_Bn: FloatArray, b_Bn: FloatArray) -> FloatArray:
    """Return (B,) the cosine of weights.

    >>> cosine(np.array([[3.0, 4.0]]), np.array([[4.0, 3.0]]))
    array([0.96])
    """
    lengths = np.linalg.norm(a_Bn, axis=-1) * np.linalg.norm(b_Bn, axis=-1)
    return _ratio((a_Bn * b_Bn).sum(-1), lengths, a_Bn, b_Bn)


def others(alike: Callable[[FloatArray, FloatArray], FloatArray], a_Bn: FloatArray, b_Bn: FloatArray) -> float:
    """Return the mean likeness of one example's map to another's; NaN where there is no other."""
    rows = [alike(np.broadcast_to(a_n, b_Bn.shape), b_Bn) for a_n in a_Bn]
    return mean_known(np.concatenate([np.delete(row_B, place) for place, row_B in enumerate(rows)]))


def _ratio(part_B: FloatArray, whole_B: FloatArray, a_Bn: FloatArray, b_Bn: FloatArray) -> FloatArray:
    known_B = (a_Bn.max(-1) > 0) & (b_Bn.max(-1) > 0)
    return np.asarray(np.divide(part_B, whole_B, out=np.full(len(part_B), np.nan), where=known_B))
